"""The result of a boot as JSON (schema ``podvm-boot/1``) and as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from podvm_builder.model.boot import BootResult, Extend, FirstDifference, Outcome, RegisterProof
from podvm_builder.report.text import printable_lines

SCHEMA = "podvm-boot/1"
_SHOWN = 16
_SLOWEST = 8
_SLOW = 0.05
"""Seconds from which on a unit is named as slow."""


def boot_to_json(result: BootResult) -> dict[str, Any]:
    """Return the document as JSON values; seconds count from the start of QEMU, digests are lower-case hex."""
    return {
        "schema": SCHEMA,
        "target": result.target,
        "image": f"sha256:{result.image_sha256}",
        "proved": result.proved,
        "outcome": result.outcome.value,
        "reason": result.reason,
        "seconds": _seconds(result.seconds),
        "machine": dict(result.machine),
        "versions": dict(result.versions),
        "registers": [_register_to_json(register) for register in result.registers],
        "timeline": [
            {"seconds": _seconds(stage.seconds), "source": stage.source, "what": stage.what}
            for stage in result.timeline
        ],
        "phases": [
            {"name": phase.name, "start": _seconds(phase.start), "seconds": _seconds(phase.end - phase.start)}
            for phase in result.phases
        ],
        "units": [{"name": unit.name, "start": _seconds(unit.start), "up": _seconds(unit.up)} for unit in result.units],
        "extends": len(result.extends),
        "events": [_extend_to_json(extend) for extend in result.extends],
        "selftest": [
            {"passed": line.passed, "component": line.component, "what": line.what} for line in result.selftest
        ],
        "troubles": list(result.troubles),
        "attempts": [
            {
                "outcome": attempt.outcome.value,
                "accelerator": attempt.accelerator,
                "reason": attempt.reason,
                "seconds": _seconds(attempt.seconds),
            }
            for attempt in result.attempts
        ],
        "notes": list(result.notes),
        "console_tail": list(result.console_tail),
    }


def render_boot(result: BootResult) -> str:
    """Lay the result out for a reader: what was compared, the first difference, the timeline."""
    machine = result.machine
    lines = [
        f"target     {result.target}",
        f"machine    boot {machine['boot']}, {machine['disk']} disk, secure boot {machine['secure_boot']}, "
        f"{machine['vcpus']} vCPUs, {machine['memory_mib']} MiB",
        f"run by     {machine['accelerator']} ({machine['accelerator_reason']})",
        "versions   " + ", ".join(f"{name} {version}" for name, version in result.versions.items()),
        f"outcome    {result.outcome.value}: {result.reason}",
        *(f"note       {note}" for note in result.notes),
        *(
            f"attempt    {attempt.outcome.value} after {attempt.seconds:.1f} s with {attempt.accelerator}, "
            f"tried again: {attempt.reason}"
            for attempt in result.attempts
        ),
        "",
    ]
    compared = [register for register in result.registers if register.equal is not None]
    if result.outcome in (Outcome.UP, Outcome.OOPS) and compared:
        lines += _table(compared)
        lines += _differences(compared)
        lines.append("")
    lines += [f"{stage.seconds:8.1f} s  {stage.what}" for stage in result.timeline]
    lines += _where_time_goes(result)
    lines += ["", *_summary(result, compared)]
    return printable_lines("\n".join(lines))


def _where_time_goes(result: BootResult) -> Iterable[str]:
    """Show how long each phase took, and the units that took longest."""
    slow = sorted((unit for unit in result.units if unit.seconds >= _SLOW), key=lambda unit: -unit.seconds)[:_SLOWEST]
    rows = [(phase.name, phase.start, phase.end - phase.start, 1) for phase in result.phases]
    tables = (("phase", rows), ("slowest units", [(unit.name, unit.start, unit.seconds, 2) for unit in slow]))
    width = max((len(name) for _, table in tables for name, *_ in table), default=0) + 2
    for heading, table in tables:
        if table:
            yield ""
            yield f"{heading:<{width}}{'from':>9}{'took':>11}"
        for name, start, took, digits in table:
            yield f"{name:<{width}}{start:7.1f} s{took:9.{digits}f} s"


def _name(register: RegisterProof) -> str:
    return register.register if register.phase is None else f"{register.register} at {register.phase}"


def _table(compared: Iterable[RegisterProof]) -> list[str]:
    """One line a register and bank."""
    rows = [
        (
            _name(register),
            register.alg,
            "equal" if register.equal else "DIFFERENT",
            _short(register.predicted),
            "" if register.equal else _short(register.observed),
        )
        for register in compared
    ]
    width = max(len(row[0]) for row in rows) + 3
    return [
        f"{'register':<{width}}{'bank':<8}{'':<11}{'predicted':<{_SHOWN + 4}}observed",
        *(
            f"{name:<{width}}{alg:<8}{verdict:<11}{predicted:<{_SHOWN + 4}}{observed}".rstrip()
            for name, alg, verdict, predicted, observed in rows
        ),
    ]


def _differences(compared: Iterable[RegisterProof]) -> Iterable[str]:
    """Show each register's first difference once, in its last bank: the banks hash the same events."""
    last = {_name(register): register for register in compared if register.first_difference is not None}
    for register in last.values():
        difference = register.first_difference
        assert difference is not None  # noqa: S101 - only those were taken
        yield ""
        yield f"{_name(register)} {register.alg}: first difference at event {difference.index}"
        yield f"  expected  {_expected(difference, register.alg)}"
        yield f"  observed  {_observed(difference)}"


def _expected(difference: FirstDifference, alg: str) -> str:
    event = difference.expected
    if event is None:
        return "no further event"
    return f"{event.subject} ({event.kind}, by {event.source}) {_short(event.digests.get(alg))}"


def _observed(difference: FirstDifference) -> str:
    if difference.observed is None:
        return "no further event"
    known = f", which is {difference.observed_is}" if difference.observed_is else ""
    when = f" at {difference.seconds:.1f} s" if difference.seconds is not None else ""
    return f"{_short(difference.observed)}{when}{known}"


def _summary(result: BootResult, compared: list[RegisterProof]) -> list[str]:
    failed = [line for line in result.selftest if not line.passed]
    lines = (
        [f"selftest   {len(result.selftest) - len(failed)} of {len(result.selftest)} checks passed"]
        if result.selftest
        else []
    )
    lines += [f"  FAIL {line.component}: {line.what}" for line in failed]
    lines.append(f"TPM        {len(result.extends)} extends" + _unexplained(result))
    if result.outcome is Outcome.UP:
        equal = sum(1 for register in compared if register.equal)
        lines.append(f"proof      {equal} of {len(compared)} predicted values equal")
    return lines


def _unexplained(result: BootResult) -> str:
    names = [f"{r.register} {r.alg}" for r in result.registers if r.observed is not None and not r.explained]
    return f"; they do not add up to {', '.join(names)}" if names else ", which add up to every register"


def _register_to_json(register: RegisterProof) -> dict[str, Any]:
    row: dict[str, Any] = {
        "register": register.register,
        "alg": register.alg,
        "phase": register.phase,
        "status": register.status.value if register.status is not None else None,
        "reason": register.reason,
        "predicted": _hex(register.predicted),
        "computed": register.computed,
        "observed": _hex(register.observed),
        "equal": register.equal,
        "explained": register.explained,
    }
    difference = register.first_difference
    if difference is not None:
        event = difference.expected
        row["first_difference"] = {
            "index": difference.index,
            "expected": None
            if event is None
            else {
                "kind": event.kind,
                "subject": event.subject,
                "source": event.source,
                "digest": _hex(event.digests.get(register.alg)),
            },
            "observed": _hex(difference.observed),
            "seconds": _seconds(difference.seconds),
            "observed_is": difference.observed_is,
        }
    return row


def _extend_to_json(extend: Extend) -> dict[str, Any]:
    return {
        "seconds": _seconds(extend.seconds),
        "command": extend.command,
        "pcr": extend.pcr,
        "digests": {alg: digest.hex() for alg, digest in extend.digests.items()},
        "subject": extend.subject,
    }


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _short(value: bytes | None) -> str:
    return "-" if value is None else value.hex()[:_SHOWN] + "…"


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
