"""The plan: everything that decides an image and its measurements, resolved, frozen and explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from podvm_builder.model.axes import Target
from podvm_builder.model.fact import Facts
from podvm_builder.model.lint import Suppression


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where one value, or one edit of a list, came from."""

    layer: str
    """``default``, ``distro debian-13``, ``tee snp``, ``cloud aws``, ``variant debug``, ``feature gpu``,
    ``profile acme`` or ``--set``."""
    place: str
    """File and line, e.g. ``catalog/clouds/aws.yaml:12`` or ``acme.yaml:9``; ``command line`` for ``--set``."""
    what: str
    """``= value``, ``+ item`` or ``- item``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistroPlan:
    """What mkosi is told of the distribution."""

    name: str
    """mkosi's name: ``debian``."""
    release: str
    """mkosi's release: ``trixie``."""
    repositories: tuple[str, ...]
    os_id: str
    """``ID`` of os-release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPlan:
    """The kernel, its modules and its command line."""

    package: str
    cmdline: tuple[str, ...]
    """Words of the command line, without the root hash, which the build appends."""
    modules: tuple[str, ...]
    """Modules or folders of the root file system, as mkosi's regular expressions over module paths."""
    initrd_modules: tuple[str, ...]
    """The same for the initrd: what finds and verifies the root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """The shape of the disk."""

    root_format: str
    """``erofs`` or ``squashfs``."""
    hostname: str
    source_date_epoch: int
    """Seconds since 1970 UTC that every timestamp in the image is clamped to."""
    remove: tuple[str, ...]
    """Paths removed from the root file system, shell globs."""


BOOT_PATHS = ("disk", "direct")
"""``disk``: firmware starts the UKI from the EFI system partition; ``direct``: QEMU hands the UKI over."""
SECURE_BOOT = ("absent", "off", "on")
"""Not compiled into the firmware; compiled in, not enabled; enabled."""
PLATFORM_VMMS = ("qemu", "ec2", "gce", "hyperv", "krun")
"""VMMs that a platform may have; ``@`` and a revision of what one measures may follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformPlan:
    """The machine whose measurements are predicted; nothing here changes the image."""

    vmm: str
    """One of :data:`PLATFORM_VMMS`."""
    firmware: str
    """A name in the catalogue's firmware table, or a path; empty where the owner of the cloud provides it."""
    boot: tuple[str, ...]
    """Boot paths to predict for, of :data:`BOOT_PATHS`."""
    vcpus: tuple[int, ...]
    cpus: tuple[str, ...]
    """CPU model names as QEMU spells them."""
    guest_features: tuple[int, ...]
    """SEV_FEATURES values to predict for."""
    secure_boot: str
    """One of :data:`SECURE_BOOT`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurePlan:
    """Choices about what is measured in the guest."""

    phases: bool
    """Whether systemd's boot phase units extend PCR 11."""


POLICIES = ("allow-all", "allow-all-except-exec-process", "disallow-all-except-setpolicy")
"""The kata agent's policies that every image holds."""
BAKEABLE = ("aa", "cdh", "policy")
"""Documents that initdata can deliver, so that the profile says which of them are baked."""
FORWARDER_TLS = ("delivered", "off")
"""``delivered``: certificate and key come with the user data; ``off``: the forwarder speaks plain text."""
SCRATCH = ("asked", "always", "never")
"""Whether a pod's container images get encrypted storage on a disk: where the user data asks for it, always, never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPlan:
    """How the guest's programs are set up, in files of the measured root."""

    policy: str
    """What the kata agent goes by where none is delivered: one of :data:`POLICIES`, or the path of another."""
    registry_auth: str
    """``delivered``, or the ``kbs:///`` URI of registry credentials."""
    port: int
    """TCP port that the forwarder listens on."""
    tls: str
    """One of :data:`FORWARDER_TLS`."""
    scratch: str
    """One of :data:`SCRATCH`."""
    fallback_dns: tuple[str, ...]
    """Addresses of name servers to ask where the network names none."""
    aa: str
    """Path of the attestation agent's configuration, as the profile names it; empty where there is none."""
    cdh: str
    """The same for the confidential data hub."""
    registries: str
    """The same for the registries that images are pulled from."""
    client_ca: str
    """The same for the CA of the forwarder's clients."""
    ca_certificates: tuple[str, ...]
    """Paths of CA certificates for all of the image's programs."""
    ssh_key: str
    """Path of the public keys that may log in; empty where nobody may."""
    bake: tuple[str, ...]
    """Which of ``aa``, ``cdh`` and ``policy`` are part of the root; the others are delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidencePlan:
    """What the target's evidence says, from the catalogue's row of this TEE on this cloud."""

    kind: str
    """The verifier's evidence type: ``snp``, ``tdx``, ``az-snp-vtpm``, ``az-tdx-vtpm``, ``tpm``, ``none``."""
    promised: tuple[str, ...]
    """Registers that the image's owner can promise."""
    identifies: bool
    """Whether checking the promised registers ties evidence to this image."""
    by: tuple[str, ...]
    """The registers that tie it."""
    reason: str
    source: str
    """Where this is known from."""


BUILDERS = ("mkosi", "packer")
"""``mkosi`` makes an image from packages; ``packer`` changes a vendor's image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """The three identities, hex SHA-256 over canonical JSON (RFC 8785), and that of the whole plan."""

    rootfs: str
    image: str
    plan: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One image and the machines it is for; equal plans give equal recipes, byte for byte."""

    target: Target
    profile: str
    """Name of the profile, or the target's text where there is no file."""
    builder: str
    """One of :data:`BUILDERS`."""
    level: str
    """``planned`` < ``rendered`` < ``validated`` < ``built`` < ``booted``."""
    distro: DistroPlan
    packages: tuple[str, ...]
    """Sorted, the kernel included."""
    kernel: KernelPlan
    image: ImagePlan
    units: Mapping[str, str]
    """systemd units whose preset differs from `disable`: name to ``enable`` or ``mask``."""
    components: str
    """``selftest``, ``none``, or the path of a component lock or a folder of components."""
    measure: MeasurePlan
    guest: GuestPlan
    platform: PlatformPlan
    evidence: EvidencePlan
    trust: Facts
    """What the machines report and no image decides; facts of which nothing is known are not there."""
    suppressions: tuple[Suppression, ...]
    """Findings of lint that the profile has decided to be right."""
    tools: str
    """Identity of the tools tree's specification, hex SHA-256."""
    ids: Ids
    origins: Mapping[str, tuple[Origin, ...]] = field(compare=False, repr=False)
    """Per dotted key, the layers that gave it its value, in order."""

    @property
    def folder(self) -> str:
        """The output folder: the target's, followed by ``packer`` where that is the builder."""
        return f"{self.target.folder}-packer" if self.builder == "packer" else self.target.folder
