"""A recipe: the tree of files that an image builder reads."""

from __future__ import annotations

import hashlib
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


def recipe_digest(tree: RecipeTree) -> str:
    """Return the hex SHA-256 over every file of a recipe, by path: path, mode and content, each with its length."""
    whole = hashlib.sha256()
    for path in sorted(tree):
        name, data = path.encode(), tree[path].data
        whole.update(b"%d %d %o\n%b%b" % (len(name), len(data), tree[path].mode, name, data))
    return whole.hexdigest()
