"""What is known of a cloud: its machines' drivers, its TEEs, and what their evidence says of an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from podvm_builder.catalog.settings import Edit
from podvm_builder.catalog.yaml_scalars import ScalarValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """Kernel modules that machines need, as paths below the kernel's sources, without suffix; of several between which
    ``|`` stands, one."""

    disk: tuple[str, ...] = ()
    """Of disks that the root may lie on: the initrd must have them."""
    network: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """What a row of evidence holds for; None stands for any."""

    boot: str | None = None
    """This boot path is among those predicted for."""
    arch: str | None = None
    kernel_hashes: bool | None = None
    """The firmware is known to (or not known to) check the hashes of a kernel that QEMU hands it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a TEE's evidence on a cloud says of an image."""

    when: When
    kind: str
    promised: tuple[str, ...]
    by: tuple[str, ...]
    """Registers that identify the image together; empty if none do."""
    reason: str
    source: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudTee:
    """A TEE on a cloud."""

    reason: str | None
    """Why it does not exist there; None where it does."""
    evidence: tuple[Evidence, ...]
    """The first row whose condition holds applies."""
    edits: tuple[Edit, ...]
    drivers: tuple[str, ...] | None = None
    """What a guest gets evidence by there, where that is otherwise than the TEE's own way."""
    architecture_edits: Mapping[str, tuple[Edit, ...]] = field(default_factory=dict)
    """Architecture to edits that come after the others of the TEE on this cloud."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataService:
    """The service at a link-local address that a cloud's machines ask about themselves; pods are to reach it."""

    address: str
    """IPv4."""
    field: str
    """What tells a machine of this cloud: a name below ``/sys/class/dmi/id``."""
    value: str
    """What that field holds there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackerCloud:
    """How Packer makes images for a cloud."""

    builder: str
    """A name of ``packer.yaml``."""
    architectures: tuple[str, ...]
    values: Mapping[str, ScalarValue | tuple[str, ...]]
    """What the builder's template is told."""
    tees: Mapping[str, Mapping[str, ScalarValue | tuple[str, ...]]]
    """The same for one TEE, over the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """A cloud, or a hypervisor of one's own."""

    name: str
    title: str
    architectures: tuple[str, ...]
    boots: tuple[str, ...]
    """Boot paths that it offers: ``disk``, ``direct``."""
    metadata: MetadataService | None
    user_data_max: int | None
    """Bytes of user data that it takes, before its own encoding; None where there is no limit that matters."""
    edits: tuple[Edit, ...]
    tees: Mapping[str, CloudTee]
    drivers: Drivers
    packer: PackerCloud | None = None
    """None where no builder of Packer's is known."""
    architecture_edits: Mapping[str, tuple[Edit, ...]] = field(default_factory=dict)
    """Architecture to edits that come after those of the cloud and the TEE."""
