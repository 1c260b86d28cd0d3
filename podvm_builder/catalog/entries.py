"""The catalogue's entries: what is known of each distribution, TEE, cloud, firmware and so on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from podvm_builder.catalog.cloud import Cloud
from podvm_builder.catalog.settings import Edit
from podvm_builder.model.axes import Target

LEVELS = ("planned", "rendered", "validated", "built", "booted")
"""How far a target is supported, lowest first; each but the first is backed by a test."""
LOADERS = ("uki", "zipl", "grub")
"""How an architecture's machines come to their kernel: a unified kernel image that the firmware starts; a boot record
as zipl writes it; GRUB for Open Firmware."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A processor architecture."""

    name: str
    """As ``uname -m`` spells it."""
    title: str
    mkosi: str
    """As mkosi's ``Architecture=`` spells it."""
    loader: str
    """One of :data:`LOADERS`."""
    consoles: tuple[str, ...]
    """Patterns of devices that ``console=`` may name."""
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DistroFeature:
    """What a feature needs on one distribution."""

    repositories: tuple[str, ...]
    """Of the distribution, besides those that every image has."""
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackerDistro:
    """How a vendor's image of a distribution becomes a PodVM with Packer."""

    manager: str
    """What installs packages: ``apt`` or ``dnf``."""
    user: str
    """Who logs in to the vendor's images unless a base says otherwise."""
    registration: str | None
    """What a machine is registered with before it gets packages: ``rhsm``; None where nothing is needed."""
    selinux: bool
    """Whether files need SELinux labels."""
    bases: Mapping[str, Mapping[str, str]]
    """Packer's builder to what names the vendor's x86_64 image there; absent where the user has to name one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distro:
    """A distribution release."""

    name: str
    title: str
    builder: str
    """What builds its images unless another is asked for: one of :data:`podvm_builder.model.plan.BUILDERS`."""
    distribution: str
    """mkosi's ``Distribution=``."""
    release: str
    """mkosi's ``Release=``."""
    repositories: tuple[str, ...]
    os_id: str
    tees: Mapping[str, str]
    """TEEs that it cannot run in, and why."""
    clouds: Mapping[str, str]
    """Clouds that it cannot be had on, and why."""
    names: str
    """How far the names of its packages were checked, and against what."""
    edits: tuple[Edit, ...]
    """Those of its family first."""
    architectures: Mapping[str, tuple[Edit, ...]]
    """Architecture to the edits that it adds, the kernel's package among them."""
    features: Mapping[str, DistroFeature]
    place: str
    packer: PackerDistro | None = None
    """None where no vendor's image is known to become a PodVM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tee:
    """A trusted execution environment, or ``none``."""

    name: str
    title: str
    architectures: tuple[str, ...]
    reason: str | None
    """Why it is not supported; None where it is."""
    nearest: str | None
    """The TEE to take instead of one that is not supported."""
    drivers: tuple[str, ...]
    """Kernel modules by which a guest gets evidence, as in :class:`podvm_builder.catalog.cloud.Drivers`."""
    edits: tuple[Edit, ...]
    encrypted: bool = False
    """Whether kernel, initrd and command line are encrypted for the hosts that may run the image."""
    architecture_edits: Mapping[str, tuple[Edit, ...]] = field(default_factory=dict)
    """Architecture to edits that come after those of the TEE."""
    architecture_drivers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Architecture to drivers that stand in place of those of the TEE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A variant of the image, or a feature: a fragment with a name."""

    name: str
    title: str
    per_distro: bool
    """Whether it takes an entry of the distribution's, too."""
    edits: tuple[Edit, ...]
    lint_allows: tuple[str, ...] = ()
    """Findings that are this variant's or feature's purpose: a code, and a pattern of places where it is not all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFirmware:
    """One build of a firmware, recognised by its digest."""

    sha256: str
    version: str
    snp: bool
    """Whether it has SEV metadata for SNP."""
    tdx: bool
    """Whether it has TDX metadata."""
    kernel_hashes: bool
    """Whether its SEV metadata reserves a page for kernel hashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """A firmware by name: the package that it comes from and what is known of its builds."""

    name: str
    title: str
    package: str
    suite: str
    """``tools``: the tools tree has it; otherwise the Debian suite whose package is fetched, e.g. ``sid``."""
    path: str
    """Where it stands, absolute, in the tools tree or the package."""
    snp: bool
    tdx: bool
    kernel_hashes: bool
    secure_boot: str
    """``absent``, ``off`` or ``on``, as its built-in variables have it."""
    known: Mapping[str, KnownFirmware]
    """By SHA-256, hex."""
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The specification of the tools tree: the programs that every build runs in."""

    distribution: str
    suite: str
    packages: tuple[str, ...]
    """Sorted."""

    @property
    def id(self) -> str:
        """Return the identity of the specification: hex SHA-256 over its canonical JSON (RFC 8785)."""
        import rfc8785

        spec = {
            "schema": "podvm-tools/1",
            "distribution": self.distribution,
            "suite": self.suite,
            "packages": list(self.packages),
        }
        return hashlib.sha256(rfc8785.dumps(spec)).hexdigest()


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile("[a-z0-9._-]*".join(map(re.escape, text.split("*"))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A level that targets have, and the test that proves it."""

    level: str
    targets: tuple[str, ...]
    """Patterns over the text of a target; ``*`` stands for any name, so ``a/b/*`` is not about ``a/b/c+debug``."""
    test: str
    builder: str | None = None
    """What built them; None for the distribution's own builder."""

    def covers(self, target: Target) -> bool:
        """Return whether the proof is about this target."""
        return any(_pattern(pattern).fullmatch(str(target)) for pattern in self.targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All that is known, by name, in the order that lists show."""

    architectures: Mapping[str, Architecture]
    distros: Mapping[str, Distro]
    tees: Mapping[str, Tee]
    clouds: Mapping[str, Cloud]
    variants: Mapping[str, Variant]
    features: Mapping[str, Variant]
    firmware: Mapping[str, Firmware]
    tools: Tools
    proofs: tuple[Proof, ...]
    defaults: tuple[Edit, ...]
    phase_units: tuple[str, ...]
    """Units that extend PCRs with boot phases; masked unless ``measure.phases`` is true."""

    def proofs_of(self, target: Target, builder: str | None = None) -> tuple[Proof, ...]:
        """Return what proves the level of a target that a builder makes, by default its distribution's own."""
        own = self.distros[target.distro].builder if target.distro in self.distros else None
        proofs = [proof for proof in self.proofs if (proof.builder or own) == (builder or own) and proof.covers(target)]
        best = max((LEVELS.index(proof.level) for proof in proofs), default=0)
        return tuple(proof for proof in proofs if LEVELS.index(proof.level) == best)

    def level(self, target: Target, builder: str | None = None) -> str:
        """Return the highest level that a test proves for a target and a builder, by default its distribution's own."""
        return next((proof.level for proof in self.proofs_of(target, builder)), LEVELS[0])
