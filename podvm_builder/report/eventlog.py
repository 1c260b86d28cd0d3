"""Event logs, their replay and their comparison, as text and as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from podvm_builder.formats.event_text import describe
from podvm_builder.formats.eventlog import EventLog
from podvm_builder.formats.eventlog_replay import LogFinding
from podvm_builder.measure.log_diff import Entry, Parting, register_name
from podvm_builder.report.text import printable

Registers = Mapping[str, Mapping[int, bytes]]
"""Value per bank and register number."""


def log_to_json(
    log: EventLog,
    kind: str,
    registers: Registers,
    findings: Sequence[LogFinding],
    *,
    banks: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return a log with the registers that it replays to, and the digests of some banks, else of all."""
    shown = log.algorithms if banks is None else banks
    return {
        "kind": kind,
        "registers": [
            {"register": register_name(index, kind), "alg": bank, "value": value.hex()}
            for bank, values in registers.items()
            for index, value in sorted(values.items())
        ],
        "events": [
            {
                "offset": event.offset,
                "register": register_name(event.index, kind),
                "kind": event.name,
                "digests": {alg: digest.hex() for alg, digest in event.digests.items() if alg in shown},
                "description": describe(event),
                "data": event.data.hex(),
            }
            for event in log.events
        ],
        "findings": [
            {"offset": one.offset, "register": register_name(one.index, kind), "message": one.message}
            for one in findings
        ],
    }


def render_events(log: EventLog, kind: str, bank: str) -> str:
    """Lay out a log's events, one a line and the digest below it."""
    lines = []
    for number, event in enumerate(log.events):
        lines.append(f"{number:4}  {register_name(event.index, kind)}  {event.name}  {describe(event)}".rstrip())
        digest = event.digests.get(bank)
        if digest is not None:
            lines.append(f"      {bank} {digest.hex()}")
    return "\n".join(map(printable, lines))


def render_replay(kind: str, registers: Registers, findings: Sequence[LogFinding]) -> str:
    """Lay out the registers of each bank, and what is wrong with the log."""
    lines = [
        f"{register_name(index, kind)}  {bank:6}  {value.hex()}"
        for bank, values in registers.items()
        for index, value in sorted(values.items())
    ]
    lines += [f"finding: {register_name(one.index, kind)}, byte {one.offset:#x}: {one.message}" for one in findings]
    return "\n".join(map(printable, lines))


def partings_to_json(partings: Sequence[Parting]) -> list[dict[str, Any]]:
    """Return each register's first difference."""
    return [
        {
            "register": one.register,
            "index": one.index,
            "left": _entry_to_json(one.left, one.left_is),
            "right": _entry_to_json(one.right, one.right_is),
        }
        for one in partings
    ]


def render_partings(partings: Sequence[Parting]) -> str:
    """Lay out each register's first difference; one line where there is none."""
    if not partings:
        return "the logs agree"
    lines: list[str] = []
    for one in partings:
        lines.append(f"{one.register}  event {one.index}")
        for side, entry, place in (("left", one.left, one.left_is), ("right", one.right, one.right_is)):
            if entry is None:
                lines.append(f"  {side:5}  no further event")
                continue
            also = f"; the other log has it as {place}" if place else ""
            lines.append(f"  {side:5}  {entry.kind}  {entry.text}{also}")
            lines += [f"         {alg} {digest.hex()}" for alg, digest in entry.digests.items()]
    return "\n".join(map(printable, lines))


def _entry_to_json(entry: Entry | None, place: str | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {
        "kind": entry.kind,
        "description": entry.text,
        "digests": {alg: digest.hex() for alg, digest in entry.digests.items()},
        "elsewhere": place,
    }
