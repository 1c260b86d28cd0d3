"""QEMU's qcow2 images, versions 2 and 3, read as the raw disk that they stand for.

Specification: QEMU ``docs/interop/qcow2.rst``. Plain, zero and compressed clusters (deflate, zstd) are read; what needs
a second file (a backing file, external data) or a key (encryption) is refused, as is an image that is marked corrupt.
Big-endian.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from threading import Lock

from podvm_builder.errors import FormatError
from podvm_builder.formats.compression import Unsupported, decompress
from podvm_builder.formats.readers import check_range
from podvm_builder.model.reader import BinaryReader

CODE = "PVB258"
MAGIC = b"QFI\xfb"
MAX_DISK = 1 << 46
"""Bytes of the disk that are credible: 64 TiB."""

_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_OFFSET = 0x00FFFFFFFFFFFE00
_COMPRESSED = 1 << 62
_ZERO = 1
_DIRTY, _CORRUPT, _EXTERNAL, _TYPE, _EXTENDED = 1, 2, 4, 8, 16
_MAX_L1 = 32 << 20
_KEPT_TABLES = 64
_KEPT_CLUSTERS = 32


class Qcow2Reader:
    """A qcow2 image's disk as a :class:`~podvm_builder.model.reader.BinaryReader`."""

    def __init__(self, reader: BinaryReader) -> None:
        """Read the header and the first table.

        Raises:
            FormatError: PVB258, not qcow2 or damaged, or it needs what is not read here; the message says what.
        """
        if reader.size < 104:
            raise _error("shorter than a header", 0)
        head = reader.read_at(0, 112 if reader.size >= 112 else 104)
        magic, version, backing, _, bits, size, crypt, l1_size, l1_offset, _, _, _, _ = _HEADER.unpack_from(head)
        if magic != MAGIC or version not in (2, 3):
            raise _error(f"version {version}" if magic == MAGIC else "no header", 0)
        features = struct.unpack_from(">Q", head, 72)[0] if version == 3 else 0
        self._compression = _check_features(features, head)
        if backing:
            raise _error(
                "it has a backing file, whose content is not in it", 8, hint="qemu-img convert -O raw IMAGE image.raw"
            )
        if crypt:
            raise _error("it is encrypted", 32)
        if not 9 <= bits <= 21:
            raise _error(f"clusters of 2^{bits} bytes", 20)
        if size > MAX_DISK:
            raise _error(f"a disk of {size} bytes", 24)
        per_table = 1 << (bits - 3)
        needed = -(-size // ((1 << bits) * per_table))
        if l1_size < needed or l1_size * 8 > _MAX_L1 or l1_offset + l1_size * 8 > reader.size:
            raise _error(f"a first table of {l1_size} entries for a disk of {size} bytes", 36)
        self._reader = reader
        self._bits: int = bits
        self._size: int = size
        self._version = version
        self._first = struct.unpack(f">{needed}Q", reader.read_at(l1_offset, needed * 8))
        self._tables: OrderedDict[int, tuple[int, ...]] = OrderedDict()
        self._clusters: OrderedDict[int, bytes] = OrderedDict()
        self._lock = Lock()

    @property
    def size(self) -> int:
        """Length of the disk in bytes."""
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset``; FormatError outside the disk or where a table is damaged."""
        check_range(self._size, offset, length)
        parts: list[bytes] = []
        cluster = 1 << self._bits
        run: tuple[int, int] | None = None  # host offset and length of neighbouring plain clusters
        while length:
            inside = offset & (cluster - 1)
            count = min(length, cluster - inside)
            host, data = self._find(offset >> self._bits)
            if run is not None and (host is None or run[0] + run[1] != host + inside):
                parts.append(self._reader.read_at(*run))
                run = None
            if host is not None:
                if host + inside + count > self._reader.size:
                    raise _error("a cluster behind the end of the file", host)
                run = (host + inside, count) if run is None else (run[0], run[1] + count)
            else:
                parts.append(bytes(count) if data is None else data[inside : inside + count])
            offset += count
            length -= count
        if run is not None:
            parts.append(self._reader.read_at(*run))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _find(self, number: int) -> tuple[int | None, bytes | None]:
        """Return where a cluster stands in the file, or its bytes, or neither where it is all zeros."""
        entry = self._entry(number)
        if entry & _COMPRESSED:
            return None, self._unpack(number, entry)
        host = entry & _OFFSET
        if not host or (entry & _ZERO and self._version == 3):
            return None, None
        if host & ((1 << self._bits) - 1):
            raise _error("a cluster that does not begin at a multiple of its size", host)
        return host, None

    def _entry(self, number: int) -> int:
        index, at = divmod(number, 1 << (self._bits - 3))
        with self._lock:
            table = self._tables.get(index)
            if table is None:
                offset = self._first[index] & _OFFSET
                if not offset:
                    return 0
                if offset + (1 << self._bits) > self._reader.size:
                    raise _error("a table behind the end of the file", offset)
                table = struct.unpack(f">{1 << self._bits - 3}Q", self._reader.read_at(offset, 1 << self._bits))
                self._tables[index] = table
                if len(self._tables) > _KEPT_TABLES:
                    self._tables.popitem(last=False)
        entry: int = table[at]
        return entry

    def _unpack(self, number: int, entry: int) -> bytes:
        with self._lock:
            if number in self._clusters:
                return self._clusters[number]
        shift = 62 - (self._bits - 8)
        offset = entry & ((1 << shift) - 1)
        sectors = (entry & (_COMPRESSED - 1)) >> shift
        # the length is in sectors, and may reach beyond the end of the file
        end = min((offset & ~511) + (sectors + 1) * 512, self._reader.size)
        if offset >= end:
            raise _error("a compressed cluster behind the end of the file", offset)
        size = 1 << self._bits
        try:
            data = decompress(self._compression, self._reader.read_at(offset, end - offset), limit=size, cut=True)[0]
        except Unsupported as error:
            raise _error(str(error), offset) from error
        if len(data) != size:
            raise _error(f"a compressed cluster of {len(data)} bytes", offset)
        with self._lock:
            self._clusters[number] = data
            if len(self._clusters) > _KEPT_CLUSTERS:
                self._clusters.popitem(last=False)
        return data


def _check_features(features: int, head: bytes) -> str:
    """Refuse what is not read here, and return the compression of clusters."""
    if features & _CORRUPT:
        raise _error("it is marked corrupt", 72)
    if features & _EXTERNAL:
        raise _error("its data are in another file", 72)
    if features & _EXTENDED:
        raise _error("it has extended table entries, which are not read here", 72)
    if features & ~(_DIRTY | _TYPE):
        raise _error(f"features {features:#x} that are not known here", 72)
    kind = head[104] if features & _TYPE and len(head) > 104 else 0
    if kind not in (0, 1):
        raise _error(f"compression {kind}", 104)
    return ("deflate", "zstd")[kind]


def _error(what: str, offset: int, hint: str | None = None) -> FormatError:
    return FormatError(f"qcow2 image: {what}", offset, code=CODE, hint=hint)
