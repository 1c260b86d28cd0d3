"""Launch measurements as a table: what is the same for all rows above it, what differs in columns."""

from __future__ import annotations

from collections.abc import Sequence

from podvm_builder.model.measurement import Measurement, MeasurementSet


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
    rows = found.measurements
    common, varying = _variants(rows)
    lines = _columns([[key, _text(value)] for key, value in common.items()])
    if lines:
        lines.append("")
    header = ["register", *varying, "value"]
    lines += _columns([header, *([row.register, *_cells(row, varying), _value(row)] for row in rows)])
    remarks = list(dict.fromkeys(row.reason for row in rows if row.value is not None and row.reason))
    lines += ["", *(f"note: {remark}" for remark in remarks)] if remarks else []
    identifies = found.identifies_image
    answer = f"yes, by {', '.join(identifies.by)}" if identifies.value else "no"
    return "\n".join([*lines, "", f"identifies the image: {answer} ({identifies.reason})"])


def _variants(rows: Sequence[Measurement]) -> tuple[dict[str, str | int | bool], list[str]]:
    """Return the variant's entries that every row shares, and the names of the others in order."""
    names = list(dict.fromkeys(name for row in rows for name in row.variant))
    common: dict[str, str | int | bool] = {}
    varying: list[str] = []
    for name in names:
        values = {row.variant.get(name) for row in rows}
        if len(values) == 1:
            common[name] = rows[0].variant[name]
        else:
            varying.append(name)
    return common, varying


def _cells(row: Measurement, names: Sequence[str]) -> list[str]:
    return [_text(row.variant[name]) if name in row.variant else "-" for name in names]


def _value(row: Measurement) -> str:
    return f"{row.status} ({row.reason})" if row.value is None else row.value.hex()


def _text(value: str | int | bool) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
