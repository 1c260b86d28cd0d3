"""Views over bytes: a value in memory, a window of another reader, several ranges put together."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from podvm_builder.errors import FormatError
from podvm_builder.model.reader import BinaryReader

CHUNK = 1 << 20
"""Bytes read at a time: large enough that the calls cost nothing, small enough to stay in the CPU's cache."""


def check_range(size: int, offset: int, length: int) -> None:
    """Refuse a range that is not inside ``size`` bytes.

    Raises:
        FormatError: the range begins before 0 or ends behind the last byte.
    """
    if offset < 0 or length < 0 or offset + length > size:
        raise FormatError(f"{length} bytes are wanted where {size} is the end of the input", offset)


class BytesReader:
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        """Keep the bytes; they are not copied."""
        self._data = data

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self._data)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset``; FormatError outside the input."""
        check_range(len(self._data), offset, length)
        return self._data[offset : offset + length]


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of bytes of a reader; ``offset`` None stands for zeros."""

    offset: int | None
    length: int


class ExtentReader:
    """Runs of another reader's bytes, one after the other: a file's clusters, a section with its zero fill."""

    def __init__(self, reader: BinaryReader, extents: Sequence[Extent]) -> None:
        """Check every extent against the reader.

        Raises:
            FormatError: an extent is not inside the reader.
        """
        self._reader = reader
        self._extents = tuple(extent for extent in extents if extent.length)
        self._size = 0
        self._starts: list[int] = []
        for extent in self._extents:
            if extent.offset is not None:
                check_range(reader.size, extent.offset, extent.length)
            self._starts.append(self._size)
            self._size += extent.length

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset``; FormatError outside the input."""
        check_range(self._size, offset, length)
        parts: list[bytes] = []
        end = offset + length
        # from the extent that holds the first byte: a file may have very many
        for index in range(max(0, bisect_right(self._starts, offset) - 1), len(self._extents)):
            extent, start = self._extents[index], self._starts[index]
            if start >= end:
                break
            first = max(offset, start)
            count = min(end, start + extent.length) - first
            if extent.offset is None:
                parts.append(bytes(count))
            else:
                parts.append(self._reader.read_at(extent.offset + first - start, count))
        return parts[0] if len(parts) == 1 else b"".join(parts)


def window(reader: BinaryReader, offset: int, length: int) -> ExtentReader:
    """Return a view of ``length`` bytes from ``offset``; FormatError outside the input."""
    check_range(reader.size, offset, length)
    return ExtentReader(reader, (Extent(offset, length),))


def read_all(reader: BinaryReader) -> bytes:
    """Return all bytes; for inputs that are known to be small."""
    return reader.read_at(0, reader.size)


def chunks(reader: BinaryReader, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
    """Yield a range (by default everything) in pieces of at most :data:`CHUNK` bytes."""
    end = reader.size if length is None else offset + length
    while offset < end:
        count = min(CHUNK, end - offset)
        yield reader.read_at(offset, count)
        offset += count
