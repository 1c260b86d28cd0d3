"""What changes for a verifier between two images, in words and as JSON values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from podvm_builder.measure.diff import MOVED, InputChange
from podvm_builder.refvalues.compare import Comparison, ValueChange
from podvm_builder.refvalues.merge import ABSENT
from podvm_builder.report.diff import input_lines

_WORDS = {"status": "is known on one side alone", "only-left": "is gone", "only-right": "is new"}


def comparison_to_json(targets: tuple[str, str], found: Comparison, inputs: Sequence[InputChange]) -> dict[str, Any]:
    """Return every value that changes, the names that stay, and the registers that no value is taken from."""
    return {
        "equal": found.equal,
        "targets": list(targets),
        "values": [
            {
                "name": one.change.name,
                "register": one.register,
                "added": list(one.change.added),
                "removed": list(one.change.removed),
                "causes": list(one.causes),
            }
            for one in found.values
        ],
        "same": list(found.same),
        "not_compared": [
            {"register": one.register, "kind": one.kind, "causes": list(one.causes)} for one in found.ignored
        ],
        "inputs": [{"kind": one.kind, "name": one.name, "left": one.left, "right": one.right} for one in inputs],
    }


def comparison_lines(targets: tuple[str, str], found: Comparison, inputs: Sequence[InputChange]) -> list[str]:
    """Say it in lines: each value with the register it comes from and why that moved."""
    lines = [targets[0] if targets[0] == targets[1] else f"{targets[0]} -> {targets[1]}"]
    for one in found.values:
        lines.append(f"{one.change.name} changes: {_how(one)}")
        lines += [f"  - {_text(value)}" for value in one.change.removed]
        lines += [f"  + {_text(value)}" for value in one.change.added]
        lines += [f"  because of {cause}" for cause in one.causes]
    if found.same:
        lines.append(f"the same: {', '.join(found.same)}")
    for moved in found.ignored:
        how = "differs" if moved.kind == MOVED else _WORDS[moved.kind]
        why = f", because of {', '.join(moved.causes)}" if moved.causes else ""
        lines.append(f"{moved.register} {how}{why}; the policy does not compare it")
    if found.equal:
        lines.append("a verifier sees no difference")
    return [*lines, *input_lines(inputs)]


def _how(one: ValueChange) -> str:
    if one.change.before is ABSENT:
        return f"{one.register} has a value now"
    if one.change.after is ABSENT:
        return f"{one.register} has no value any more"
    return f"{one.register} is another one"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
