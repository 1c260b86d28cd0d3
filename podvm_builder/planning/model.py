"""The profile document as a model: what the JSON Schema is generated from and what shapes are checked by.

Names (of clouds, CPU models …) and the meaning of values are checked by ``planning.rules``; here are keys,
types and closed sets of words.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, create_model

from podvm_builder.model.fact import FACTS, Fact


def _shape(value: Any) -> str:
    if isinstance(value, dict):
        return "edit"
    return "list" if isinstance(value, list) else "one"


def _item(value: Any) -> str:
    return "number" if isinstance(value, int) and not isinstance(value, bool) else "text"


def _exact(value: Any) -> Any:
    return value if type(value) is int else str(value)  # `1.0` and `true` equal 1, too


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


Names = Annotated[
    Annotated[str, Tag("one")] | Annotated[list[str], Field(min_length=1), Tag("list")], Discriminator(_shape)
]
VariantName = Literal["production", "debug"]
VariantNames = Annotated[
    Annotated[VariantName, Tag("one")] | Annotated[list[VariantName], Field(min_length=1), Tag("list")],
    Discriminator(_shape),
]
BootPath = Literal["direct", "disk"]
Number = Annotated[int, Field(ge=0)]
Count = Annotated[Annotated[int, Tag("number")] | Annotated[str, Tag("text")], Discriminator(_item)]


class WordsEdit(_Model):
    """Changes to a list: what goes out of it, then what comes to its end."""

    append: list[str] | None = None
    """Items to add at the end; those that are there already stay where they are."""
    remove: list[str] | None = None
    """Items to take out; each must be there."""


class BootsEdit(_Model):
    """Changes to the list of boot paths."""

    append: list[BootPath] | None = None
    """Boot paths to add."""
    remove: list[BootPath] | None = None
    """Boot paths to take out; each must be there."""


class NumbersEdit(_Model):
    """Changes to a list of numbers."""

    append: list[Number] | None = None
    """Numbers to add."""
    remove: list[Number] | None = None
    """Numbers to take out; each must be there."""


class CountsEdit(_Model):
    """Changes to a list of counts."""

    append: list[Count] | None = None
    """Counts to add; text such as `1-4` stands for several."""
    remove: list[Count] | None = None
    """Counts to take out; each must be there."""


Words = Annotated[Annotated[list[str], Tag("list")] | Annotated[WordsEdit, Tag("edit")], Discriminator(_shape)]
Boots = Annotated[Annotated[list[BootPath], Tag("list")] | Annotated[BootsEdit, Tag("edit")], Discriminator(_shape)]
Numbers = Annotated[Annotated[list[Number], Tag("list")] | Annotated[NumbersEdit, Tag("edit")], Discriminator(_shape)]
Counts = Annotated[
    Annotated[Count, Tag("one")] | Annotated[list[Count], Tag("list")] | Annotated[CountsEdit, Tag("edit")],
    Discriminator(_shape),
]


class Exclude(_Model):
    """Combinations to leave out of the matrix: those that match every axis given here."""

    distro: Names | None = None
    tee: Names | None = None
    cloud: Names | None = None
    arch: Names | None = None
    variant: VariantNames | None = None


class Kernel(_Model):
    """The kernel, its modules and its command line."""

    package: Annotated[str, Field(examples=["linux-image-cloud-amd64"])] | None = None
    """Package of the kernel."""
    cmdline: Annotated[Words, Field(examples=[{"append": ["mitigations=auto"]}])] | None = None
    """Words of the kernel's command line; the build appends the root hash."""
    modules: Annotated[Words, Field(examples=[{"append": ["drivers/net/ethernet/mellanox/"]}])] | None = None
    """Modules of the root file system: regular expressions over their paths."""
    initrd_modules: Words | None = None
    """Modules of the initrd: regular expressions over their paths."""


class Image(_Model):
    """The shape of the image."""

    root_format: Literal["erofs", "squashfs"] | None = None
    """File system of the root."""
    hostname: Annotated[str, Field(examples=["podvm"])] | None = None
    """Static host name."""
    remove: Annotated[Words, Field(examples=[{"append": ["/usr/share/doc/*"]}])] | None = None
    """Paths removed from the root file system: absolute, shell globs allowed."""


class Measure(_Model):
    """What is measured in the guest."""

    phases: bool | None = None
    """Whether systemd's boot phases extend PCR 11, so that it changes while the system starts."""


class Guest(_Model):
    """How the guest's programs are set up."""

    policy: Annotated[str, Field(examples=["allow-all-except-exec-process", "policy.rego"])] | None = None
    """The kata agent's policy until initdata brings another: `allow-all`, `allow-all-except-exec-process`,
    `disallow-all-except-setpolicy`, or a file beside the profile."""
    registry_auth: Annotated[str, Field(examples=["delivered", "kbs:///default/credential/registry"])] | None = None
    """Credentials for registries: `delivered` with the user data, or the URI of a resource of the KBS."""
    port: Annotated[Number, Field(examples=[15150])] | None = None
    """TCP port of the agent protocol forwarder; cloud-api-adaptor must be told of another than 15150."""
    tls: Literal["delivered", "off"] | None = None
    """The forwarder's TLS: certificate and key `delivered` with the user data; `"off"` in debug images only."""
    scratch: Literal["asked", "always", "never"] | None = None
    """Encrypted storage for container images on a disk: where the user data asks for it, always, or never."""
    fallback_dns: Annotated[Words, Field(examples=[["9.9.9.9"], []])] | None = None
    """Addresses of name servers to ask where the network names none."""
    aa: Annotated[str, Field(examples=["aa.toml"])] | None = None
    """Configuration of the attestation agent, a file beside the profile."""
    cdh: Annotated[str, Field(examples=["cdh.toml"])] | None = None
    """Configuration of the confidential data hub, a file beside the profile."""
    registries: Annotated[str, Field(examples=["registries.conf"])] | None = None
    """Mirrors and blocks of registries, a file beside the profile; it is baked, and `cdh` must name it."""
    client_ca: Annotated[str, Field(examples=["client-ca.pem"])] | None = None
    """CA certificate of the forwarder's clients, a file beside the profile; it is baked."""
    ca_certificates: Annotated[Words, Field(examples=[["corporate-ca.pem"]])] | None = None
    """CA certificates for all programs of the image, files beside the profile; they are baked."""
    ssh_key: Annotated[str, Field(examples=["id_ed25519.pub"])] | None = None
    """Public keys of who may log in to a debug image, or deliver the user data of one with `sftp`."""
    bake: Annotated[Words, Field(examples=[["aa", "cdh", "policy"]])] | None = None
    """Documents that are part of the measured root, and go before delivered ones: `aa`, `cdh`, `policy`."""


class Platform(_Model):
    """The machine whose measurements are predicted; nothing here changes the image."""

    firmware: Annotated[str, Field(examples=["ovmf-amdsev", "firmware/OVMF.fd"])] | None = None
    """A firmware of the catalogue, or the path of a file beside the profile."""
    boot: Annotated[Boots, Field(examples=[["direct", "disk"]])] | None = None
    """Boot paths to predict for."""
    vcpus: Annotated[Counts, Field(examples=[4, [2, 4, 8], "1-64"])] | None = None
    """Numbers of vCPUs to predict for."""
    cpus: Annotated[Words, Field(examples=[["EPYC-v4", "EPYC-Milan"]])] | None = None
    """CPU models to predict for, as QEMU spells them."""
    guest_features: Annotated[Numbers, Field(examples=[[1]])] | None = None
    """SEV_FEATURES values to predict for."""
    secure_boot: Literal["absent", "off", "on"] | None = None
    """State of UEFI Secure Boot; `"on"` and `"off"` need their quotes."""


def _fact(fact: Fact) -> Any:
    values = Numbers if fact.kind == "number" else Words
    return Annotated[values, Field(description=f"{fact.title}.")] | None, None


Trust = create_model(
    "Trust",
    __base__=_Model,
    __doc__="What machines report and no image decides: values that a verifier accepts. The image stays as it is.",
    **{name: _fact(fact) for name, fact in FACTS.items() if fact.profile},
)


class Suppress(_Model):
    """A finding of `podvm-build lint` that is right as it is."""

    code: Annotated[str, Field(examples=["PVB821"])]
    """Code of the rule."""
    path: Annotated[str, Field(examples=["/usr/bin/su"])] = "*"
    """Shell pattern over what the finding is about; all of the rule's findings without one."""
    reason: Annotated[str, Field(examples=["the support contract asks for it"])]
    """Why it is right: shown with the finding, and recorded in the manifest."""


class Lint(_Model):
    """What `podvm-build lint` finds, and what is made of it."""

    suppress: Annotated[list[Suppress], Field(min_length=1)] | None = None
    """Findings that do not count."""


class ProfileDocument(_Model):
    """A profile of podvm-build: narrows, combines or changes targets."""

    schema_: Annotated[Literal[1], BeforeValidator(_exact), Field(alias="schema")]
    """Version of this document's form."""
    name: Annotated[str, Field(examples=["acme"])] | None = None
    """Name of the profile; without one it is that of the file."""
    distro: Names
    """Distribution; a list makes a matrix."""
    tee: Names
    """Trusted execution environment; a list makes a matrix."""
    cloud: Names
    """Cloud; a list makes a matrix."""
    arch: Names | None = None
    """Processor architecture, `x86_64` by default; a list makes a matrix."""
    variant: VariantNames | None = None
    """`production` by default; a list makes a matrix."""
    features: list[str] | None = None
    """Features, all of which go into every image."""
    exclude: Annotated[list[Exclude], Field(examples=[[{"tee": "tdx", "cloud": "aws"}]])] | None = None
    """Combinations to leave out."""
    components: Annotated[str, Field(examples=["components.lock.yaml", "selftest", "none"])] | None = None
    """The guest's programs: a component lock or a folder of programs beside the profile, `selftest`, or `none`."""
    kernel: Kernel | None = None
    packages: Annotated[Words, Field(examples=[{"append": ["iptables"]}])] | None = None
    """Packages of the root file system, besides the kernel's."""
    image: Image | None = None
    units: (
        Annotated[dict[str, Literal["enable", "mask", "disable"]], Field(examples=[{"ssh.service": "mask"}])] | None
    ) = None
    """systemd units to enable or mask; `disable`, the preset of all others, takes an entry of the catalogue back."""
    measure: Measure | None = None
    guest: Guest | None = None
    platform: Platform | None = None
    trust: Trust | None = None
    lint: Lint | None = None
