"""The guest's own files, as they stand in the package: read once, in a fixed order."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable


@cache
def template_files(folder: str) -> dict[str, bytes]:
    """Return all files below a folder of ``podvm_builder/templates``, by their path relative to it, sorted."""
    found: dict[str, bytes] = {}
    _walk(files("podvm_builder") / "templates" / folder, "", found)
    return {path: found[path] for path in sorted(found)}


def _walk(folder: Traversable, prefix: str, found: dict[str, bytes]) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            _walk(entry, f"{prefix}{entry.name}/", found)
        else:
            found[f"{prefix}{entry.name}"] = entry.read_bytes()
