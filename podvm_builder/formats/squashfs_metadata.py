"""The metadata of squashfs: blocks of at most 8 KiB, each compressed on its own, and the tables made of them.

Specification: Linux ``fs/squashfs/cache.c``, ``id.c``, ``xattr.c`` and ``xattr_id.c``. Little-endian.
"""

from __future__ import annotations

import struct

from podvm_builder.errors import FormatError
from podvm_builder.formats.compression import decompress
from podvm_builder.model.reader import BinaryReader

CODE = "PVB256"
BLOCK = 8192
NO_XATTRS = 0xFFFFFFFF
ABSENT = 0xFFFFFFFFFFFFFFFF
"""In the place of a table that there is none of."""
_MAX_BLOCKS = 1 << 12
"""Metadata blocks that are kept, 32 MiB: a desktop's root has some 2000 of them, and few are looked at."""
_MAX_XATTRS = 1 << 16
_SECURITY = 2
"""Number of the prefix ``security.``; 0x100 beside it says that the value stands elsewhere."""


class Metadata:
    """Reads metadata blocks of one file system; each is unpacked once."""

    def __init__(self, reader: BinaryReader, compression: str) -> None:
        """Keep the reader of the file system, and the name of its compression."""
        self._reader = reader
        self._compression = compression
        self._blocks: dict[int, tuple[bytes, int]] = {}

    def read(self, table: tuple[int, int], block: int, offset: int, length: int, *, short: bool = False) -> bytes:
        """Return bytes of a table, across its blocks; ``short``: fewer where the table ends."""
        at = table[0] + block
        parts: list[bytes] = []
        wanted = offset + length
        while wanted > 0:
            if at + 2 > table[1]:
                if short:
                    break
                raise _error("a reference behind the end of a table", at)
            data, size = self._block(at, table[1])
            parts.append(data[:wanted])
            wanted -= len(data)
            at += size
            if wanted > 0 and len(data) < BLOCK:
                if short:
                    break
                raise _error("a reference behind the end of a table", at)
        return b"".join(parts)[offset:]

    def _block(self, at: int, end: int) -> tuple[bytes, int]:
        """Return a metadata block, and its size on disk with its header."""
        if at not in self._blocks:
            if len(self._blocks) >= _MAX_BLOCKS:
                raise _error("more metadata than an image's root has", at)
            (header,) = struct.unpack("<H", self._reader.read_at(at, 2))
            size = header & 0x7FFF
            if not 0 < size <= BLOCK or at + 2 + size > end:
                raise _error(f"a metadata block of {size} bytes", at)
            data = self._reader.read_at(at + 2, size)
            if not header & 0x8000:
                data = decompress(self._compression, data, limit=BLOCK)[0]
            self._blocks[at] = data, size + 2
        return self._blocks[at]

    def listed(self, pointers: int, number: int, size: int) -> bytes:
        """Return an entry of a table whose metadata blocks a list of pointers names."""
        per_block = BLOCK // size
        (block,) = struct.unpack("<Q", self.at(pointers + number // per_block * 8, 8))
        return self.read((block, self._reader.size), 0, number % per_block * size, size)

    def at(self, offset: int, length: int) -> bytes:
        """Return bytes that stand outside of metadata blocks."""
        if offset + length > self._reader.size:
            raise _error("a list behind the end", offset)
        return self._reader.read_at(offset, length)


class Attributes:
    """Owners and extended attributes, to which inodes refer by number."""

    def __init__(self, metadata: Metadata, ids: int, count: int, xattrs: int) -> None:
        """Keep where the tables stand, and how many IDs there are."""
        self._metadata = metadata
        self._ids = ids
        self._id_count = count
        self._xattrs = xattrs
        self._numbers: dict[int, int] = {}
        self._capable: dict[int, bool] = {}

    def number(self, number: int) -> int:
        """Return a user's or group's number from the table of IDs, to whose blocks of 2048 a list points."""
        if number not in self._numbers:
            if number >= self._id_count:
                raise _error(f"owner {number} of {self._id_count}", None)
            entry = self._metadata.listed(self._ids, number, 4)
            (self._numbers[number],) = struct.unpack("<I", entry)
        return self._numbers[number]

    def capable(self, number: int) -> bool:
        """Say whether a set of extended attributes holds ``security.capability``."""
        if number == NO_XATTRS or self._xattrs == ABSENT:
            return False
        if number not in self._capable:
            table, count, _ = struct.unpack("<QII", self._metadata.at(self._xattrs, 16))
            if number >= count:
                raise _error(f"extended attributes {number} of {count}", None)
            reference, entries, size = struct.unpack("<QII", self._metadata.listed(self._xattrs + 16, number, 16))
            if size > _MAX_XATTRS or entries > _MAX_XATTRS // 8:
                raise _error(f"{entries} extended attributes of {size} bytes", None)
            self._capable[number] = self._names_capability((table, self._xattrs), reference, entries)
        return self._capable[number]

    def _names_capability(self, table: tuple[int, int], reference: int, entries: int) -> bool:
        block, offset = reference >> 16, reference & 0xFFFF
        data = self._metadata.read(table, block, offset, _MAX_XATTRS, short=True)
        at = 0
        for _ in range(entries):
            if at + 4 > len(data):
                raise _error("truncated extended attributes", None)
            prefix, length = struct.unpack_from("<HH", data, at)
            if prefix & 0xFF == _SECURITY and data[at + 4 : at + 4 + length] == b"capability":
                return True
            at += 4 + length
            if at + 4 > len(data):
                raise _error("truncated extended attributes", None)
            at += 4 + struct.unpack_from("<I", data, at)[0]
        return False


def _error(what: str, offset: int | None) -> FormatError:
    return FormatError(f"squashfs: {what}", offset, code=CODE)
