"""A history of registrations as text and as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from podvm_builder.refvalues.ledger import Entry, RegisteredImage

_SHORT = 16


def history_to_json(entries: Sequence[Entry], active: Mapping[str, Sequence[RegisteredImage]]) -> dict[str, Any]:
    """Return the entries, and by verifier the images that it takes."""
    return {
        "entries": [
            {
                "number": entry.number,
                "time": entry.time,
                "action": entry.action,
                "where": entry.where,
                "images": [_image(one) for one in entry.images],
                "changes": [
                    {"name": name, "added": list(added), "removed": list(removed)}
                    for name, added, removed in entry.changes
                ],
            }
            for entry in entries
        ],
        "accepted": {where: [_image(one) for one in images] for where, images in active.items()},
    }


def history_lines(entries: Sequence[Entry], active: Mapping[str, Sequence[RegisteredImage]]) -> list[str]:
    """Return a line an entry, and then what each verifier takes."""
    lines = [
        f"{entry.number:6}  {entry.time}  {entry.action:6}  {entry.where}  {', '.join(map(_name, entry.images))}"
        for entry in entries
    ]
    for where, images in active.items():
        lines += ["", f"{where} takes:", *(f"  {_name(one)}" for one in images)]
        if not images:
            lines.append("  none of these images")
    return lines or ["nothing was recorded yet"]


def _image(image: RegisteredImage) -> dict[str, Any]:
    return {"target": image.target, "image": image.image, "values": dict(image.values)}


def _name(image: RegisteredImage) -> str:
    identity = f" {image.image[:_SHORT]}" if image.image else ""
    return f"{image.target or 'an image'}{identity}"
