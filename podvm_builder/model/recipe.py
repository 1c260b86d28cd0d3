"""A recipe: the tree of files that an image builder reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFile:
    """One file of a recipe."""

    data: bytes
    mode: int = 0o644
    """0o644, or 0o755 for scripts and programs."""


RecipeTree = Mapping[str, RecipeFile]
"""Path relative to the recipe's folder (POSIX, no leading slash, no ``..``) to the file; symbolic links are
not part of a recipe: what needs one is created by a unit preset or by tmpfiles."""
