"""Predicted against observed, per register and bank, with the first event that is not as it should be. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from podvm_builder.boot import tpm
from podvm_builder.boot.tpm import PcrChange, Pcrs, TpmCommand
from podvm_builder.model.boot import Extend, FirstDifference, RegisterProof
from podvm_builder.model.event import Event
from podvm_builder.model.measurement import Measurement, MeasurementSet, Status

_REGISTER = re.compile(r"tpm\.pcr(\d{2})")


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
            is among them with the same value: what a row depends on and the machine does not say, it cannot prove.
    """
    return tuple(
        row
        for row in measurements.measurements
        if _REGISTER.fullmatch(row.register)
        and all(key in facts and facts[key] == value for key, value in row.variant.items())
    )


def prove(
    rows: Iterable[Measurement],
    logs: Mapping[str, Sequence[Event]],
    extends: Sequence[Extend],
    observed: Pcrs,
) -> tuple[RegisterProof, ...]:
    """Compare, for every PCR and bank that was read or predicted, in the order of PCRs and then banks.

    Args:
        rows: predictions that hold for the machine that was booted.
        logs: predicted event logs by name, which the rows refer to.
        extends: what the TPM was extended with since it was powered on.
        observed: PCRs as read.
    """
    predictions = {(row.register, row.alg): row for row in rows}
    keys = set(predictions) | {(f"tpm.pcr{pcr:02d}", alg) for alg, bank in observed.items() for pcr in bank}
    banks = list(tpm.SIZES)
    return tuple(
        _prove(
            register,
            alg,
            row=predictions.get((register, alg)),
            logs=logs,
            extends=extends,
            value=observed.get(alg, {}).get(int(register[-2:])),
        )
        for register, alg in sorted(keys, key=lambda key: (key[0], banks.index(key[1]) if key[1] in banks else 99))
    )


def _prove(
    register: str,
    alg: str,
    *,
    row: Measurement | None,
    logs: Mapping[str, Sequence[Event]],
    extends: Sequence[Extend],
    value: bytes | None,
) -> RegisterProof:
    pcr = int(register[-2:])
    predicted = row.value if row is not None and row.status is Status.PREDICTED else None
    equal = None if predicted is None else predicted == value
    log = logs.get(row.origin[1]) if row is not None and row.origin is not None and row.origin[0] == "log" else None
    difference = None
    if equal is False and log is not None and value is not None:
        difference = first_difference(pcr, alg, log, extends)
    return RegisterProof(
        register=register,
        alg=alg,
        status=row.status if row is not None else None,
        reason=row.reason if row is not None else None,
        predicted=predicted,
        observed=value,
        equal=equal,
        explained=value is not None and tpm.fold(map(_change, extends), pcr, alg) == value,
        first_difference=difference,
    )


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
