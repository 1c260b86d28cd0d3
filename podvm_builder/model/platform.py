"""What is known of a machine's firmware because a log of one of its boots was read: a platform profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from podvm_builder.model.event import Event


class Part(StrEnum):
    """What an image brings to a boot's log, in the places that firmware leaves for it."""

    TABLE = "partition-table"
    PROGRAM = "program"
    """The first program, and before it the entry of db that lets it pass."""
    REST = "rest"
    """All that is measured from there to the exit of boot services."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place in the log of a machine where a part of the image is measured."""

    part: Part
    pcr: int
    """The register that this firmware measures the part into; of :attr:`Part.REST`, its programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformProfile:
    """A machine's firmware as one boot's log showed it: its own events, and where the image's stand among them.

    ``podvm-platform/1`` is the document of it. Registers of a trust domain are named by a PCR that is mapped to them
    (UEFI 2.10 §38.4.1), as in every log here.
    """

    kind: str
    """``tpm`` or ``ccel``."""
    banks: tuple[str, ...]
    """Hash algorithms that every event has a digest of."""
    boot: str
    """One of :data:`podvm_builder.model.plan.BOOT_PATHS`."""
    secure_boot: str
    """One of :data:`podvm_builder.model.plan.SECURE_BOOT`."""
    entries: tuple[Event | Slot, ...]
    """The firmware's events in order, and among them the image's places."""
    locality: int = 0
    """Startup locality, the last byte that PCR 0 starts with."""
    gaps: Mapping[int, str] = field(default_factory=dict)
    """PCRs that the log did not teach, with the reason."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Where it was learnt: ``log`` (``sha256:…``); ``firmware`` (``sha256:…``), ``vmm`` and ``machine`` if known."""
    habits: Mapping[str, int] = field(default_factory=dict)
    """What stands out, counted: boot options that were tried, exits of boot services that failed."""
    digest: str = ""
    """``sha256:`` and hex digits of the document that it was read from; empty if it was just learnt."""

    @property
    def events(self) -> tuple[Event, ...]:
        """The firmware's events alone."""
        return tuple(entry for entry in self.entries if isinstance(entry, Event))

    def register_of(self, part: Part) -> int | None:
        """Return the PCR that a part goes to, None where the log has no place for it."""
        return next((slot.pcr for slot in self.entries if isinstance(slot, Slot) and slot.part is part), None)
