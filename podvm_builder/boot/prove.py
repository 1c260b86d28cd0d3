"""Predicted against observed, per register and bank, with the first event that is not as it should be. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from podvm_builder.boot import tpm
from podvm_builder.boot.tpm import PcrChange, Pcrs, TpmCommand
from podvm_builder.model.boot import Extend, FirstDifference, RegisterProof
from podvm_builder.model.event import Event
from podvm_builder.model.measurement import Measurement, MeasurementSet, Status

_REGISTER = re.compile(r"tpm\.pcr(\d{2})")

COMPUTED = "this boot"
"""Name of the log of predictions that were computed for the machine at hand; no document has one of that name."""

Key = tuple[str, str, str | None]
"""Register, bank, and the boot phase where the register has a value for each."""


def label(extends: Sequence[Extend], log: Sequence[Event]) -> tuple[Extend, ...]:
    """Give each extend the subject of the predicted event that has its register and digests, each event once."""
    left = list(log)
    labelled = []
    for extend in extends:
        match = next((event for event in left if event.pcr == extend.pcr and _same(event, extend)), None)
        if match is not None:
            left.remove(match)
        labelled.append(replace(extend, subject=match.subject if match is not None else None))
    return tuple(labelled)


def relevant(measurements: MeasurementSet, facts: Mapping[str, str | int | bool]) -> tuple[Measurement, ...]:
    """Return the TPM's rows that hold for a machine.

    Args:
        measurements: the predictions.
        facts: the machine's inputs, by the names that ``variant`` uses. A row holds if every key of its variant
            but the phase is among them with the same value: what a row depends on and the machine does not say, it
            cannot prove. A boot goes through all phases, so rows of every phase hold.
    """
    return tuple(
        row
        for row in measurements.measurements
        if _REGISTER.fullmatch(row.register)
        and all(name == "phase" or facts.get(name) == value for name, value in row.variant.items())
    )


def number(row: Measurement) -> int:
    """Return the PCR of a row that :func:`relevant` gave."""
    return int(row.register[-2:])


def phase(row: Measurement) -> str | None:
    """Return the boot phase that a row is for, None where there is only one value."""
    word = row.variant.get("phase")
    return None if word is None else str(word)


def key(row: Measurement) -> Key:
    """Return what a row says something of: register, bank and boot phase."""
    return row.register, row.alg, phase(row)


def prove(
    rows: Iterable[Measurement],
    logs: Mapping[str, Sequence[Event]],
    extends: Sequence[Extend],
    observed: Pcrs,
    *,
    last_phase: str | None = None,
) -> tuple[RegisterProof, ...]:
    """Compare, for every PCR and bank that was read or predicted, in the order of PCRs, banks and phases.

    Args:
        rows: predictions that hold for the machine that was booted.
        logs: predicted event logs by name, which the rows refer to.
        extends: what the TPM was extended with since it was powered on.
        observed: PCRs as read.
        last_phase: the boot phase at whose value the registers were read; the value of an earlier one is that which the
            extends up to its word add up to.
    """
    predictions = {key(row): row for row in rows}
    phased = {(register, alg) for register, alg, word in predictions if word is not None}
    read = {(f"tpm.pcr{pcr:02d}", alg, None) for alg, bank in observed.items() for pcr in bank}
    keys = list(predictions) + [one for one in read if one not in predictions and one[:2] not in phased]
    banks = list(tpm.SIZES)
    return tuple(
        _prove(
            one,
            row=predictions.get(one),
            logs=logs,
            extends=extends,
            value=observed.get(one[1], {}).get(int(one[0][-2:])),
            last_phase=last_phase,
        )
        # sorting keeps the order of phases, in which predictions come
        for one in sorted(keys, key=lambda one: (one[0], banks.index(one[1]) if one[1] in banks else 99))
    )


def _prove(
    what: Key,
    *,
    row: Measurement | None,
    logs: Mapping[str, Sequence[Event]],
    extends: Sequence[Extend],
    value: bytes | None,
    last_phase: str | None,
) -> RegisterProof:
    register, alg, word = what
    pcr = int(register[-2:])
    explained = value is not None and tpm.fold(map(_change, extends), pcr, alg) == value
    log = logs.get(row.origin[1]) if row is not None and row.origin is not None and row.origin[0] == "log" else None
    if word is not None and word != last_phase:
        until = _reached(word, pcr, alg, extends)
        value = None if until is None else tpm.fold(map(_change, extends[:until]), pcr, alg)
        extends = extends[:until]
        log = _until(log, word)
    predicted = row.value if row is not None and row.status is Status.PREDICTED else None
    equal = None if predicted is None else predicted == value
    difference = None
    if equal is False and log is not None and (value is not None or word is not None):
        difference = first_difference(pcr, alg, log, extends)
    return RegisterProof(
        register=register,
        alg=alg,
        phase=word,
        status=row.status if row is not None else None,
        reason=row.reason if row is not None else None,
        predicted=predicted,
        observed=value,
        equal=equal,
        explained=explained,
        computed=row is not None and row.origin == ("log", COMPUTED),
        first_difference=difference,
    )


def _reached(word: str, pcr: int, alg: str, extends: Sequence[Extend]) -> int | None:
    """Return how many extends there were when a phase's word was the last; None if it never was."""
    digest = hashlib.new(alg, word.encode(), usedforsecurity=False).digest()
    found = (n for n, extend in enumerate(extends, start=1) if extend.pcr == pcr and extend.digests.get(alg) == digest)
    return next(found, None)


def _until(log: Sequence[Event] | None, word: str) -> Sequence[Event] | None:
    """Return a log as far as the event of a phase's word."""
    if log is None:
        return None
    return log[: next((n for n, event in enumerate(log, start=1) if event.subject == f"phase {word}"), len(log))]


def first_difference(pcr: int, alg: str, log: Sequence[Event], extends: Sequence[Extend]) -> FirstDifference | None:
    """Walk a register's predicted and observed events side by side; None if they are the same."""
    expected = [event for event in log if event.pcr == pcr]
    seen = [extend for extend in extends if extend.pcr == pcr and alg in extend.digests]
    for index in range(max(len(expected), len(seen))):
        event = expected[index] if index < len(expected) else None
        extend = seen[index] if index < len(seen) else None
        digest = extend.digests[alg] if extend is not None else None
        if event is not None and event.digests.get(alg) == digest:
            continue
        return FirstDifference(
            index=index,
            expected=event,
            observed=digest,
            seconds=extend.seconds if extend is not None else None,
            observed_is=_elsewhere(digest, alg, log),
        )
    return None


def _elsewhere(digest: bytes | None, alg: str, log: Sequence[Event]) -> str | None:
    for event in log:
        if digest is not None and event.digests.get(alg) == digest:
            position = sum(1 for other in log[: log.index(event)] if other.pcr == event.pcr)
            return f"event {position} of PCR {event.pcr}, {event.subject}"
    return None


def _same(event: Event, extend: Extend) -> bool:
    """Say whether an event and an extend agree in every bank that both have, and in at least one."""
    common = event.digests.keys() & extend.digests.keys()
    return bool(common) and all(event.digests[alg] == extend.digests[alg] for alg in common)


def _change(extend: Extend) -> PcrChange:
    return PcrChange(command=TpmCommand(extend.command), pcr=extend.pcr, digests=extend.digests)
