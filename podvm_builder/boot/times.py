"""Where a boot's time goes: its phases, and the start times of the guest's units. Pure.

Phases come from the TPM's traffic, which every image shows, and from what the guest offers on its forwarder's port,
which only the selftest components do. The guest counts from its kernel's start. Both clocks are tied together by one
event that both date: the service that measures the init data is up once PCR 8 is extended. What the guest says is
not trusted: numbers that cannot be are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from podvm_builder.model.boot import Extend, Phase, UnitTime

_MARK = re.compile(r"TIME (init|systemd) ([0-9]{1,15})")
_UNIT = re.compile(r"TIME unit ([A-Za-z0-9:_.\\@-]{1,255}) ([0-9]{1,15}) ([0-9]{1,15})")
_MAX_UNITS = 2000
_INIT_DATA = 8
"""The PCR that the anchor extends."""
_ANCHOR = "process-user-data.service"

FIRMWARE, LOADER, KERNEL, INITRD, USERSPACE = "firmware", "loader", "kernel", "initrd", "userspace"
_LOADERS = ("systemd-boot", "UKI")
_STARTED = "kernel in section .linux"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestTimes:
    """What the guest says, in seconds since the start of QEMU."""

    init: float | None = None
    systemd: float | None = None
    units: tuple[UnitTime, ...] = ()


def guest_times(said: str, extends: Sequence[Extend]) -> GuestTimes:
    """Read the times in a guest's report; there are none without the event that ties its clock to ours.

    Args:
        said: all that the guest said on the forwarder's port; lines that are no times are passed over.
        extends: what the TPM was extended with.
    """
    lines = said.splitlines()
    rows = [match for match in map(_UNIT.fullmatch, lines) if match][:_MAX_UNITS]
    anchor = next((int(row[3]) for row in rows if row[1] == _ANCHOR), 0)
    measured = next((extend.seconds for extend in extends if extend.pcr == _INIT_DATA), None)
    if not anchor or measured is None or measured < anchor / 1e6:
        return GuestTimes()
    zero = measured - anchor / 1e6
    marks = {match[1]: zero + int(match[2]) / 1e6 for match in map(_MARK.fullmatch, lines) if match}
    units = [
        UnitTime(
            name=row[1],
            start=zero + int(row[2]) / 1e6,
            up=zero + int(row[3]) / 1e6 if int(row[3]) >= int(row[2]) else None,
        )
        for row in rows
    ]
    return GuestTimes(
        init=marks.get("init"),
        systemd=marks.get("systemd"),
        units=tuple(sorted(units, key=lambda unit: (unit.start, unit.name))),
    )


def phases(
    extends: Sequence[Extend], times: GuestTimes, milestones: Mapping[str, float], up: float | None
) -> tuple[Phase, ...]:
    """Return the phases of a boot that came up, without a gap; one whose start is not known is part of the one before.

    Args:
        extends: labelled with the predicted log's subjects.
        times: what the guest says.
        milestones: of the console, by name; they count where the guest says nothing.
        up: when the forwarder answered.
    """
    if up is None:
        return ()
    starts = {
        FIRMWARE: 0.0,
        LOADER: _first(extends, *_LOADERS),
        KERNEL: _first(extends, _STARTED),
        INITRD: times.init if times.init is not None else milestones.get("initrd"),
        USERSPACE: times.systemd if times.systemd is not None else milestones.get("systemd"),
    }
    found: list[tuple[str, float]] = []
    for name, start in starts.items():
        if start is not None and start <= up and (not found or start >= found[-1][1]):
            found.append((name, start))
        else:
            before, since = found[-1]
            found[-1] = (f"{before}, {name}", since)
    ends = [start for _, start in found[1:]] + [up]
    return tuple(Phase(name=name, start=start, end=end) for (name, start), end in zip(found, ends, strict=True))


def _first(extends: Sequence[Extend], *subjects: str) -> float | None:
    return next((extend.seconds for extend in extends if extend.subject in subjects), None)
