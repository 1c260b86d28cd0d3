"""What a TCG event log adds up to, and what it must not hold.

Specification: TCG PC Client Platform Firmware Profile 1.06 §10 (event types and what their digests are over); TPM 2.0
part 1 §17 (``new = H(old || digest)``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from podvm_builder.formats.eventlog import EV_NO_ACTION, EV_SEPARATOR, EventLog, LogEvent

_EV_EFI_ACTION = 0x80000007
_EXIT = b"Exit Boot Services Invocation"
_LOCALITY = b"StartupLocality\0"
_DATA_IS_DIGESTED = {0x04, 0x05, 0x08, 0x80000001, 0x80000007, 0x80000006, 0x800000E0}
"""Event types whose digest is over the event's data as logged: separator, action, S-CRTM version, variables, GPT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFinding:
    """Something about a well-formed log that should not be."""

    offset: int
    index: int
    message: str


def banks(log: EventLog, wanted: Sequence[str] = ("sha1", "sha256", "sha384", "sha512")) -> tuple[str, ...]:
    """Return the log's banks that can be replayed here, in the order wanted."""
    return tuple(name for name in wanted if name in log.algorithms)


def replay(log: EventLog, algorithm: str) -> dict[int, bytes]:
    """Fold the events into the registers that they extend.

    Args:
        log: the log.
        algorithm: one of its banks.

    Returns:
        Value per register that has at least one event. EV_NO_ACTION extends nothing, but a StartupLocality event
        sets the last byte that PCR 0 starts with. PCR 17-22 start as 0xFF in a TPM.
    """
    values: dict[int, bytes] = {}
    size = hashlib.new(algorithm, usedforsecurity=False).digest_size
    first = locality(log)
    for event in log.events:
        if event.kind == EV_NO_ACTION:
            continue
        start = values.get(event.index)
        if start is None:
            fill = b"\xff" if 17 <= event.index <= 22 else b"\0"
            start = bytes(size - 1) + bytes([first]) if event.index == 0 else fill * size
        values[event.index] = hashlib.new(algorithm, start + event.digests[algorithm], usedforsecurity=False).digest()
    return values


def locality(log: EventLog) -> int:
    """Return the startup locality that a log says: the last byte that PCR 0 starts with."""
    said = (event.data for event in log.events if event.kind == EV_NO_ACTION)
    return next((data[len(_LOCALITY)] for data in said if data.startswith(_LOCALITY) and len(data) > len(_LOCALITY)), 0)


def check(log: EventLog) -> tuple[LogFinding, ...]:
    """Report what a log must not hold, or lack, if boot state is to be read out of it.

    A digest that is not that of its data, where the type says that it is; a second separator in one register; no
    event that extends anything; no sign that the firmware ever left boot services.
    """
    findings: list[LogFinding] = []
    separated: set[int] = set()
    for event in log.events:
        if event.kind in _DATA_IS_DIGESTED and not _matches(event):
            findings.append(_finding(event, f"the digest of {event.name} is not that of its data"))
        if event.kind == EV_SEPARATOR:
            if event.index in separated:
                findings.append(_finding(event, "a second separator in this register"))
            separated.add(event.index)
    last = log.events[-1] if log.events else LogEvent(index=0, kind=EV_NO_ACTION, digests={}, data=b"")
    if all(event.kind == EV_NO_ACTION for event in log.events):
        findings.append(_finding(last, "no event of this log extends a register"))
    elif not any(event.kind == _EV_EFI_ACTION and event.data == _EXIT for event in log.events):
        findings.append(_finding(last, "the log ends before the firmware left boot services"))
    return tuple(findings)


def _matches(event: LogEvent) -> bool:
    return all(
        name not in hashlib.algorithms_available
        or hashlib.new(name, event.data, usedforsecurity=False).digest() == value
        for name, value in event.digests.items()
    )


def _finding(event: LogEvent, message: str) -> LogFinding:
    return LogFinding(offset=event.offset, index=event.index, message=message)
