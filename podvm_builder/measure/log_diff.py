"""Two logs side by side, register by register: the first event in which they part, and what only one of them has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from podvm_builder.formats.event_text import describe
from podvm_builder.formats.eventlog import EV_NO_ACTION, EventLog
from podvm_builder.measure.rtmr import register_of
from podvm_builder.model.event import Event

TPM = "tpm"
CCEL = "ccel"
KINDS = (TPM, CCEL)
_CCEL_LAST = 4
"""Highest register of a confidential-computing log: 1 to 4 are RTMR 0 to 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event, of a log or of a prediction."""

    register: str
    kind: str
    digests: Mapping[str, bytes]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """Where two logs part in one register."""

    register: str
    index: int
    """Among the register's events, from 0; those before are the same in both."""
    left: Entry | None
    """None where this log has no further event."""
    right: Entry | None
    left_is: str | None
    """Where the other log has the left event instead, in words."""
    right_is: str | None


def log_kind(log: EventLog) -> str:
    """Say whether a log is a TPM's or a trust domain's: the latter has SHA-384 alone, and no register above 4."""
    if log.crypto_agile and log.algorithms == ("sha384",) and all(event.index <= _CCEL_LAST for event in log.events):
        return CCEL
    return TPM


def register_name(index: int, kind: str) -> str:
    """Return the name of a log's register."""
    if kind == TPM:
        return f"tpm.pcr{index:02d}"
    return "tdx.mrtd" if index == 0 else f"tdx.rtmr{index - 1}"


def entries_of_log(log: EventLog, kind: str) -> tuple[Entry, ...]:
    """Return a log's events that extend a register."""
    return tuple(
        Entry(register=register_name(event.index, kind), kind=event.name, digests=event.digests, text=describe(event))
        for event in log.events
        if event.kind != EV_NO_ACTION
    )


def entries_of_prediction(events: Sequence[Event], kind: str) -> tuple[Entry, ...]:
    """Return predicted events, for a TPM or mapped to a trust domain's registers."""
    found: list[Entry] = []
    for event in events:
        rtmr = register_of(event.pcr)
        if kind == CCEL and rtmr is None:
            continue
        name = register_name(event.pcr, TPM) if kind == TPM else f"tdx.rtmr{rtmr}"
        found.append(Entry(register=name, kind=event.kind, digests=event.digests, text=event.subject))
    return tuple(found)


def diff_logs(left: Sequence[Entry], right: Sequence[Entry]) -> tuple[Parting, ...]:
    """Return the partings, in the order of registers; nothing where the logs agree in all banks that both have."""
    names = sorted({entry.register for entry in (*left, *right)}, key=_order)
    found = []
    for name in names:
        ours = [entry for entry in left if entry.register == name]
        theirs = [entry for entry in right if entry.register == name]
        for index in range(max(len(ours), len(theirs))):
            one = ours[index] if index < len(ours) else None
            other = theirs[index] if index < len(theirs) else None
            if one is not None and other is not None and _same(one, other):
                continue
            found.append(
                Parting(
                    register=name,
                    index=index,
                    left=one,
                    right=other,
                    left_is=_elsewhere(one, right),
                    right_is=_elsewhere(other, left),
                )
            )
            break
    return tuple(found)


def _same(one: Entry, other: Entry) -> bool:
    common = one.digests.keys() & other.digests.keys()
    return bool(common) and all(one.digests[alg] == other.digests[alg] for alg in common)


def _elsewhere(entry: Entry | None, log: Sequence[Entry]) -> str | None:
    if entry is None:
        return None
    before: dict[str, int] = {}
    for other in log:
        if _same(entry, other):
            return f"event {before.get(other.register, 0)} of {other.register}"
        before[other.register] = before.get(other.register, 0) + 1
    return None


def _order(name: str) -> tuple[str, int]:
    match = re.search(r"[0-9]+$", name)
    return name.partition(".")[0], int(match[0]) if match else -1
