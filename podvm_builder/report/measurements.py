"""Measurements as tables: what is the same for all rows above it, what differs in columns, one table per TEE or TPM."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from podvm_builder.model.measurement import Measurement, MeasurementSet
from podvm_builder.report.text import printable

Value = str | int | bool

_DIGEST = re.compile(r"\b(sha[0-9]{1,3}:[0-9a-f]{12})[0-9a-f]+")
"""In a column, twelve digits tell digests apart; the document has them whole."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of the table: one measurement, or several that say the same of different banks."""

    row: Measurement
    algs: tuple[str, ...]


def render_measurements(found: MeasurementSet) -> str:
    """Lay out a set's inputs, registers, remarks, and whether they identify the image.

    Example::

        firmware  sha256:1495…
        vmm       qemu

        register           vcpus  value
        snp.launch_digest  1      f8b6…
        snp.launch_digest  2      0dbb…

        identifies the image: no (the launch digest covers …)
    """
    families = dict.fromkeys(row.register.partition(".")[0] for row in found.measurements)
    lines: list[str] = []
    for family in families:
        lines += _table([row for row in found.measurements if row.register.partition(".")[0] == family])
    identifies = found.identifies_image
    answer = f"yes (by {', '.join(identifies.by)}: {identifies.reason})" if identifies.value else None
    lines.append(f"identifies the image: {answer or f'no ({identifies.reason})'}")
    return "\n".join(map(printable, lines))


def _table(rows: Sequence[Measurement]) -> list[str]:
    common, varying = _variants(rows)
    lines = _columns([[key, _text(value)] for key, value in common.items()])
    if lines:
        lines.append("")
    merged = _merge_banks(rows)
    banks = len({alg for line in merged for alg in line.algs}) > 1
    header = ["register", *(["bank"] if banks else []), *varying, "value"]
    cells = [
        [line.row.register, *([",".join(line.algs)] if banks else []), *_cells(line.row, varying), _value(line.row)]
        for line in merged
    ]
    lines += _columns([header, *cells])
    remarks = list(dict.fromkeys(row.reason for row in rows if row.value is not None and row.reason))
    if remarks:
        lines += ["", *(f"note: {_about(rows, remark)}{remark}" for remark in remarks)]
    return [*lines, ""]


def _about(rows: Sequence[Measurement], remark: str) -> str:
    """Return what selects the rows that a remark is about, e.g. ``boot disk: ``; nothing where it is all of them."""
    chosen = [row for row in rows if row.reason == remark and row.value is not None]
    registers = dict.fromkeys(row.register for row in chosen)
    others = [row for row in rows if row.register in registers and row not in chosen]
    words = []
    if len(registers) < len({row.register for row in rows}):
        words.append(", ".join(registers))
    if others:
        words += _difference(chosen, others)
    return f"{' with '.join(words)}: " if words else ""


def _difference(chosen: Sequence[Measurement], others: Sequence[Measurement]) -> list[str]:
    """Return the first entry of the variant, else the bank, that some rows have and others have not."""
    for name in dict.fromkeys(name for row in chosen for name in row.variant):
        values = dict.fromkeys(row.variant.get(name) for row in chosen)
        if values.keys().isdisjoint(row.variant.get(name) for row in others):
            return [f"{name} {', '.join(_cell(value) for value in values)}"]
    banks = dict.fromkeys(row.alg for row in chosen)
    return [] if any(row.alg in banks for row in others) else [f"bank {', '.join(banks)}"]


def _merge_banks(rows: Sequence[Measurement]) -> list[_Line]:
    """Put rows without a value together that differ in the bank alone."""
    merged: dict[object, _Line] = {}
    for number, row in enumerate(rows):
        same = (row.register, row.status, row.reason, tuple(row.variant.items())) if row.value is None else number
        before = merged.get(same)
        merged[same] = _Line(row, (row.alg,)) if before is None else _Line(before.row, (*before.algs, row.alg))
    return list(merged.values())


def _variants(rows: Sequence[Measurement]) -> tuple[dict[str, Value], list[str]]:
    """Return the variant's entries that every row shares, and the names of the others in order."""
    names = list(dict.fromkeys(name for row in rows for name in row.variant))
    common: dict[str, Value] = {}
    varying: list[str] = []
    for name in names:
        values = {row.variant.get(name) for row in rows}
        if len(values) == 1:
            common[name] = rows[0].variant[name]
        else:
            varying.append(name)
    return common, varying


def _cells(row: Measurement, names: Sequence[str]) -> list[str]:
    return [_cell(row.variant.get(name)) for name in names]


def _cell(value: Value | None) -> str:
    return "-" if value is None else _DIGEST.sub("\\1…", _text(value))


def _value(row: Measurement) -> str:
    return f"{row.status} ({row.reason})" if row.value is None else row.value.hex()


def _text(value: Value) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
