"""Random access to bytes that may be too large to hold: the only way large images reach the pure core."""

from __future__ import annotations

from typing import Protocol


class BinaryReader(Protocol):
    """A fixed sequence of bytes with a known size. Reading beyond the end is the caller's error."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset``.

        Raises:
            FormatError: the range is not inside the input.
        """
        ...
