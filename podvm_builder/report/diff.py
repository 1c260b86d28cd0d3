"""Comparisons of measurements as text and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from podvm_builder.measure.diff import InputChange, RegisterChange
from podvm_builder.model.measurement import Measurement
from podvm_builder.report.text import printable

_MAX_LISTED = 40
"""Inputs of one kind that the text lists; JSON has all."""


def diff_to_json(registers: Sequence[RegisterChange], inputs: Sequence[InputChange]) -> dict[str, Any]:
    """Return the registers that differ and the recorded inputs that do."""
    return {
        "equal": not registers,
        "registers": [
            {
                "register": one.register,
                "alg": one.alg,
                "kind": one.kind,
                "left": _side(one.left),
                "right": _side(one.right),
                "first": None
                if one.first is None
                else {
                    "index": one.first.index,
                    "left": one.first.left,
                    "right": one.first.right,
                    "left_digest": None if one.first.left_digest is None else one.first.left_digest.hex(),
                    "right_digest": None if one.first.right_digest is None else one.first.right_digest.hex(),
                },
                "causes": list(one.causes),
            }
            for one in registers
        ],
        "inputs": [{"kind": one.kind, "name": one.name, "left": one.left, "right": one.right} for one in inputs],
    }


def render_diff(registers: Sequence[RegisterChange], inputs: Sequence[InputChange]) -> str:
    """Lay out the registers that differ, banks that say the same together, and then the inputs."""
    if not registers:
        return "\n".join(["all registers are the same", *map(printable, input_lines(inputs))])
    merged: dict[tuple[object, ...], list[RegisterChange]] = {}
    for one in registers:
        first = (one.first.index, one.first.left, one.first.right) if one.first else None
        merged.setdefault((one.register, one.kind, first, one.causes, _variant(one)), []).append(one)
    lines: list[str] = []
    for group in merged.values():
        one = group[0]
        lines.append(f"{one.register}  {','.join(row.alg for row in group)}  {one.kind}")
        for row in group:
            lines.append(f"  {row.alg:6}  {_value(row.left)} -> {_value(row.right)}")
        if one.first is not None:
            said = f"{one.first.left or 'nothing'} -> {one.first.right or 'nothing'}"
            same = one.first.left == one.first.right
            lines.append(f"  first   event {one.first.index}, {one.first.left if same else said}")
        lines += [f"  by      {cause}" for cause in one.causes]
    return "\n".join(map(printable, [*lines, *input_lines(inputs)]))


def _variant(one: RegisterChange) -> tuple[tuple[str, str], ...]:
    row = one.left or one.right
    return tuple(sorted((key, str(value)) for key, value in row.variant.items())) if row is not None else ()


def input_lines(inputs: Sequence[InputChange]) -> list[str]:
    """Lay out the recorded inputs that differ, kind by kind, not more than a terminal shows."""
    lines: list[str] = []
    for kind in dict.fromkeys(one.kind for one in inputs):
        some = [one for one in inputs if one.kind == kind]
        lines += ["", f"{kind}s that differ: {len(some)}"]
        lines += [f"  {one.name}  {one.left or 'none'} -> {one.right or 'none'}" for one in some[:_MAX_LISTED]]
        if len(some) > _MAX_LISTED:
            lines.append(f"  and {len(some) - _MAX_LISTED} more")
    return lines


def _side(row: Measurement | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "status": row.status.value,
        "value": None if row.value is None else row.value.hex(),
        "reason": row.reason,
        "variant": dict(row.variant),
    }


def _value(row: Measurement | None) -> str:
    if row is None:
        return "none"
    return row.value.hex() if row.value is not None else str(row.status)
