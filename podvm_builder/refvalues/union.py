"""Several images as one set of measurements, so that each format can hold the old and the new one together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from podvm_builder.errors import InputError
from podvm_builder.model.fact import FactValue
from podvm_builder.model.measurement import Identification, Measurement, MeasurementSet

CODE = "PVB661"


def union(sets: Sequence[MeasurementSet]) -> MeasurementSet:
    """Return the measurements of several images of one evidence type as one set, rows in order.

    What identifies the images is what identifies each of them. Where boots of an image are not listed by its profile,
    their rows are left out here, because the lists of others would let them in again. Logs and regions stay behind:
    a row of a union is a value, and no longer an account of how it came to be.

    Args:
        sets: at least one.

    Raises:
        InputError: PVB661, they send different evidence, so no verifier reads them as one.
    """
    first = sets[0]
    if len(sets) == 1:
        return first
    other = next((one for one in sets if one.evidence != first.evidence), None)
    if other is not None:
        raise InputError(
            f"`{first.target}` sends evidence `{first.evidence}` and `{other.target}` sends `{other.evidence}`",
            code=CODE,
            hint="export each evidence type on its own; `refvalues push` takes them together",
        )
    everywhere = all(one.identifies_image.value for one in sets)
    by = tuple(
        register
        for register in first.identifies_image.by
        if everywhere and all(register in one.identifies_image.by for one in sets)
    )
    weakest = next((one for one in sets if not one.identifies_image.value), first)
    facts: dict[str, tuple[FactValue, ...]] = {}
    for one in sets:
        for name, values in one.facts.items():
            facts[name] = tuple(dict.fromkeys((*facts.get(name, ()), *values)))
    return MeasurementSet(
        target=" + ".join(dict.fromkeys(one.target for one in sets if one.target)),
        ids={},
        identifies_image=Identification(value=bool(by), by=by, reason=weakest.identifies_image.reason),
        logs={},
        regions={},
        measurements=tuple(replace(row, origin=None) for one in sets for row in _listed(one)),
        flags=tuple(dict.fromkeys(flag for one in sets for flag in one.flags)),
        evidence=first.evidence,
        facts=facts,
    )


def _listed(one: MeasurementSet) -> list[Measurement]:
    rows = one.measurements
    return [row for row in rows if "boot" not in row.variant or not one.boots or row.variant["boot"] in one.boots]
