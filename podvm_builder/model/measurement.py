"""What a register holds, how sure that is, and what the whole target's evidence identifies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from podvm_builder.model.event import Event
    from podvm_builder.model.fact import Facts
    from podvm_builder.model.region import Region


class Status(StrEnum):
    """How a register's value can be known."""

    PREDICTED = "predicted"
    """From the image and known inputs."""
    PLATFORM = "platform"
    """From firmware that we do not own: a learnt platform profile or a vendor's endorsement."""
    PER_VM = "per-vm"
    """Differs from one machine or pod to the next by design."""
    UNPREDICTABLE = "unpredictable"
    """Depends on something that cannot be known beforehand; the reason says on what."""
    NOT_COMPUTED = "not-computed"
    """Could be known, but an input was not given or is not supported yet."""


class Basis(NamedTuple):
    """One input that a value was computed from."""

    kind: str
    """``image``, ``firmware``, ``platform-profile`` or ``endorsement``."""
    digest: str
    """``sha256:`` and hex digits."""


Variant = Mapping[str, str | int | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One register for one variant of the boot.

    ``value`` is present exactly when the status is ``predicted`` (or ``platform`` with a basis);
    otherwise ``reason`` says in words why there is none.
    """

    register: str
    """``snp.launch_digest``, ``tdx.mrtd``, ``tdx.rtmr0``-``3``, ``tpm.pcr00``-``23`` …"""
    alg: str
    """Hash algorithm of the register, e.g. ``sha384``."""
    status: Status
    value: bytes | None = None
    reason: str | None = None
    variant: Variant = field(default_factory=dict)
    """Every input that moves the digest besides the image: boot path, VMM, firmware, vCPUs, CPU …"""
    basis: tuple[Basis, ...] = ()
    origin: tuple[str, str] | None = None
    """``("log", name)`` or ``("regions", name)``: what the value is the fold of."""

    def __post_init__(self) -> None:
        """Refuse a value without justification, and silence without a reason."""
        if self.value is not None and self.status not in (Status.PREDICTED, Status.PLATFORM):
            raise ValueError(f"{self.register}: a value cannot be `{self.status}`")
        if self.status is Status.PREDICTED and self.value is None:
            raise ValueError(f"{self.register}: predicted, but without a value")
        if self.value is None and not self.reason:
            raise ValueError(f"{self.register}: no value and no reason")


class Identification(NamedTuple):
    """Whether checking the promised registers ties a machine to this very image."""

    value: bool
    by: tuple[str, ...]
    """The registers that do it."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementSet:
    """All that ``measurements.json`` (schema ``podvm-measurements/1``) says of one target."""

    target: str
    """Empty for a bare file; null in the document."""
    ids: Mapping[str, str]
    """``rootfs``, ``image``, ``plan``: hex SHA-256 identities; empty for a bare file."""
    identifies_image: Identification
    logs: Mapping[str, tuple[Event, ...]]
    regions: Mapping[str, tuple[Region, ...]]
    measurements: tuple[Measurement, ...]
    flags: tuple[str, ...] = ()
    """What a verifier must know: ``selftest``, ``debug``, ``unverified-components``."""
    evidence: str = ""
    """The verifier's evidence type (:class:`podvm_builder.model.plan.EvidencePlan`): ``snp``, ``tdx``,
    ``az-snp-vtpm``, ``az-tdx-vtpm``, ``tpm`` or ``none``; empty where the measurements are of a bare file."""
    boots: tuple[str, ...] = ()
    """Boot paths that the profile lists; rows of others are for proofs and no one's reference values. Empty: all."""
    facts: Facts = field(default_factory=dict)
    """What the profile says of the machines: what a verifier compares and no image decides."""
