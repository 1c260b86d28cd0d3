"""A plan as JSON and text, and the story of one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

from podvm_builder.errors import InputError
from podvm_builder.model.plan import Plan
from podvm_builder.report.text import printable

SCHEMA = "podvm-plan/1"
_WIDTH = 110


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON, schema ``podvm-plan/1``; where values came from is left to :func:`explain`."""
    fields = asdict(plan)
    del fields["origins"]
    return {"schema": SCHEMA, **fields, "target": str(plan.target), "folder": plan.folder, "ids": fields["ids"]}


def plan_text(plan: Plan) -> str:
    """Return a plan as aligned lines of key and value."""
    document = plan_to_json(plan)
    del document["schema"]
    flat = _flat(document)
    width = max(map(len, flat))
    lines = []
    for key, value in flat.items():
        first, *rest = _wrapped(_shown(value), _WIDTH - width - 2)
        lines.append(f"{key:<{width}}  {first}".rstrip())
        lines += [" " * (width + 2) + line for line in rest]
    return "\n".join(map(printable, lines))


def explain(plan: Plan, key: str) -> list[dict[str, Any]]:
    """Return where a value came from: its key, the value, and every layer that changed it, in order.

    A key of a group, such as ``kernel``, stands for all below it.

    Raises:
        InputError: there is no such key (PVB116).
    """
    values = _flat(plan_to_json(plan))
    known = [name for name in values if name in plan.origins]
    found = [name for name in known if name == key or name.startswith(f"{key}.")]
    if not found:
        near = get_close_matches(key, known, n=3) or [name for name in known if key in name.split(".")]
        hint = f"did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else f"keys: {', '.join(known)}"
        raise InputError(f"a plan has no key `{key}` that a layer decides", code="PVB116", hint=hint)
    return [
        {
            "target": str(plan.target),
            "key": name,
            "value": values[name],
            "origins": [asdict(origin) for origin in plan.origins[name]],
        }
        for name in found
    ]


def explain_text(stories: list[dict[str, Any]]) -> str:
    """Return what :func:`explain` found as text."""
    return "\n\n".join(
        "\n".join(map(printable, [f"{story['key']} = {_shown(story['value'])}", *_aligned(story["origins"])]))
        for story in stories
    )


def _aligned(origins: list[dict[str, str]]) -> list[str]:
    layer = max(len(origin["layer"]) for origin in origins)
    place = max(len(origin["place"]) for origin in origins)
    return [f"  {one['layer']:<{layer}}  {one['place']:<{place}}  {one['what']}" for one in origins]


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a document's values by dotted key; the mapping of units is one value, for their names have dots."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict) and key != "units":
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return " ".join(f"{name}={state}" for name, state in value.items()) or "-"
    if isinstance(value, tuple | list):
        return " ".join(map(str, value)) or "-"
    return str(value) if value != "" else "-"


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines
