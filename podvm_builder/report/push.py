"""What becomes of a verifier's reference values, as text and as JSON values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from podvm_builder.refvalues.merge import ABSENT, Change
from podvm_builder.report.text import printable


def changes_to_json(where: str, changes: Sequence[Change], *, dry_run: bool) -> dict[str, Any]:
    """Return every name that was looked at; ``before`` is left out where a name was not registered."""
    return {
        "where": where,
        "dry_run": dry_run,
        "changed": any(change.is_change for change in changes),
        "names": [
            {
                "name": change.name,
                "changed": change.is_change,
                "added": list(change.added),
                "removed": list(change.removed),
            }
            | ({} if change.before is ABSENT else {"before": change.before})
            | ({} if change.after is ABSENT else {"after": change.after})
            for change in changes
        ],
    }


def render_changes(where: str, changes: Sequence[Change], *, dry_run: bool) -> str:
    """Lay out each name with the values that come and go."""
    lines = [where]
    for change in changes:
        lines.append(f"  {change.name}: {_state(change)}")
        if change.is_change:
            lines += [f"    + {text}" for text in _texts(change.added)]
            lines += [f"    - {text}" for text in _texts(change.removed)]
    if not any(change.is_change for change in changes):
        lines.append("nothing to change")
    else:
        lines.append("nothing was written: this is a dry run" if dry_run else "written, read back, and as it should be")
    return "\n".join(map(printable, lines))


def _state(change: Change) -> str:
    if change.after is ABSENT:
        return "not registered"
    if not isinstance(change.after, list):
        return "registered" if not change.is_change else "a single value"
    if not change.after:
        return "no value is left: no machine passes by it"
    count = f"{len(change.after)} value{'s' if len(change.after) > 1 else ''}"
    return f"{count}, as they are" if not change.is_change else count


def _texts(values: Iterable[Any]) -> list[str]:
    return [value if isinstance(value, str) else json.dumps(value) for value in values]
