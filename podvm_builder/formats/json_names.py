"""JSON objects in which no name stands twice.

Readers differ in which of two values they take, and a document must not be one thing to one reader and another to the
next.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of pairs, as ``object_pairs_hook`` of :func:`json.loads`.

    Raises:
        ValueError: a name stands twice.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"an object has the name `{name[:100]}` twice")
        found[name] = value
    return found
