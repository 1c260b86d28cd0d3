"""FAT12, FAT16 and FAT32 file systems, read-only: enough to see what an EFI system partition holds.

Specification: Microsoft "FAT: General Overview of On-Disk Format" 1.03; the kind follows from the number of clusters
alone. Names are compared without case, as firmware does. Little-endian. Chains and folders are walked without
recursion and with bounds, so that loops end in an error.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from podvm_builder.errors import FormatError
from podvm_builder.formats.fat_table import CODE, MAX_CLUSTERS, FatTable
from podvm_builder.formats.readers import Extent, ExtentReader, read_all
from podvm_builder.model.reader import BinaryReader

_MAX_FOLDER = 2 << 20
"""Bytes of one folder, the specification's own limit: 65536 entries."""
_LONG_NAME = 0x0F
_FOLDER = 0x10
_VOLUME = 0x08


@dataclass(frozen=True, slots=True, kw_only=True)
class FatEntry:
    """One file or folder."""

    name: str
    """The long name where there is one, else the short name."""
    is_folder: bool
    size: int
    """Bytes; 0 for a folder."""
    cluster: int
    """First cluster; 0 where there is none."""


class FatFilesystem:
    """A FAT file system inside a reader."""

    def __init__(self, reader: BinaryReader) -> None:
        """Read the boot sector.

        Raises:
            FormatError: not FAT, or a geometry that does not fit the reader.
        """
        if reader.size < 512:
            raise _error("shorter than a boot sector", 0)
        boot = reader.read_at(0, 512)
        sector, cluster, reserved, fats, roots, small, _, fat16 = struct.unpack_from("<HBHBHHBH", boot, 11)
        large, fat32 = struct.unpack_from("<II", boot, 32)
        if boot[510:] != b"\x55\xaa" or sector not in (512, 1024, 2048, 4096):
            raise _error("no FAT boot sector", 0)
        if not cluster or cluster & (cluster - 1) or not reserved or not 1 <= fats <= 2:
            raise _error("absurd sizes in the boot sector", 13)
        fat_sectors = fat16 or fat32
        total = small or large
        root_sectors = -(-roots * 32 // sector)
        data = reserved + fats * fat_sectors + root_sectors
        if not fat_sectors or data > total or total * sector > reader.size:
            raise _error(f"{total} sectors of {sector} bytes do not fit the partition or hold no data", 19)
        self._reader = reader
        self._cluster_size = cluster * sector
        self._data = data * sector
        clusters = (total - data) // cluster
        self._bits = 12 if clusters < 4085 else 16 if clusters < 65525 else 32
        self._root_region = (reserved + fats * fat_sectors) * sector, roots * 32
        self._root_cluster = struct.unpack_from("<I", boot, 44)[0] if self._bits == 32 else 0
        if clusters > MAX_CLUSTERS:
            raise _error(f"{clusters} clusters, more than their numbers can name", 19)
        if (clusters + 2) * self._bits > fat_sectors * sector * 8:
            raise _error("the allocation table is too short for the clusters", 22)
        self._table = FatTable(reader, reserved * sector, bits=self._bits, clusters=clusters)

    @property
    def bits(self) -> int:
        """12, 16 or 32."""
        return self._bits

    def list(self, path: str = "") -> tuple[FatEntry, ...]:
        """Return what stands in a folder, in the order of the disk; nothing if the folder does not exist.

        Args:
            path: names separated by ``/``; empty for the root.

        Raises:
            FormatError: the path leads through a file, or the disk's structure is broken.
        """
        folder: FatEntry | None = None
        for name in [part for part in path.split("/") if part]:
            folder = _match(self._folder(folder), name)
            if folder is None:
                return ()
            if not folder.is_folder:
                raise _error(f"`{name}` is a file where a folder is wanted", None)
        return tuple(self._folder(folder))

    def find(self, path: str) -> FatEntry | None:
        """Return the file or folder at a path, or None."""
        folder, _, name = path.rpartition("/")
        return _match(self.list(folder), name)

    def open(self, entry: FatEntry) -> ExtentReader:
        """Return a file's bytes without reading them.

        Raises:
            FormatError: the chain of clusters has a loop, leaves the disk, or is shorter than the file.
        """
        extents: list[Extent] = []
        left = entry.size
        for first, count in self._table.runs(entry.cluster):
            if not left:
                break
            length = min(left, count * self._cluster_size)
            extents.append(Extent(self._data + (first - 2) * self._cluster_size, length))
            left -= length
        if left:
            raise _error(f"`{entry.name}` has {left} bytes more than clusters", None)
        return ExtentReader(self._reader, extents)

    def _folder(self, folder: FatEntry | None) -> Iterator[FatEntry]:
        if folder is not None or self._bits == 32:
            first = self._root_cluster if folder is None else folder.cluster
            size = 0
            for _, count in self._table.runs(first):
                size += count * self._cluster_size
                if size > _MAX_FOLDER:
                    raise _error(f"a folder of {size} bytes", None)
            whole = FatEntry(name="folder", is_folder=True, size=size, cluster=first)
            return _entries(read_all(self.open(whole)), self._bits)
        return _entries(self._reader.read_at(*self._root_region), self._bits)


def _match(entries: Iterator[FatEntry] | Sequence[FatEntry], name: str) -> FatEntry | None:
    wanted = name.upper()
    return next((entry for entry in entries if entry.name.upper() == wanted), None)


def _entries(data: bytes, bits: int) -> Iterator[FatEntry]:
    """Yield a folder's entries; long names whose order or checksum is wrong are ignored, as drivers do."""
    parts: dict[int, str] = {}
    expected = 0
    checksum = -1
    for at in range(0, len(data) - 31, 32):
        entry = data[at : at + 32]
        if entry[0] == 0:
            return
        attributes = entry[11]
        if entry[0] == 0xE5:
            parts, expected = {}, 0
        elif attributes & 0x3F == _LONG_NAME:
            order = entry[0]
            if order & 0x40:
                parts, expected, checksum = {}, order & 0x3F, entry[13]
            if order & 0x3F == expected and expected and entry[13] == checksum:
                parts[expected] = (entry[1:11] + entry[14:26] + entry[28:32]).decode("utf-16-le", "replace")
                expected -= 1
            else:
                parts, expected = {}, 0
        else:
            complete = bool(parts) and expected == 0 and checksum == _checksum(entry[:11])
            long_name = "".join(parts[order] for order in sorted(parts)).split("\0")[0] if complete else ""
            parts, expected = {}, 0
            if attributes & _VOLUME or entry[:2] in (b". ", b".."):
                continue
            high, low, size = struct.unpack_from("<H4xHI", entry, 20)
            is_folder = bool(attributes & _FOLDER)
            yield FatEntry(
                name=long_name or _short_name(entry),
                is_folder=is_folder,
                size=0 if is_folder else size,
                cluster=low | (high << 16 if bits == 32 else 0),
            )


def _short_name(entry: bytes) -> str:
    base = entry[:8].rstrip(b" ")
    if base[:1] == b"\x05":  # stands for 0xE5, which would mean: deleted
        base = b"\xe5" + base[1:]
    extension = entry[8:11].rstrip(b" ")
    # the bits with which Windows NT, and mtools after it, keep a name that is all lower case
    base = base.lower() if entry[12] & 0x08 else base
    extension = extension.lower() if entry[12] & 0x10 else extension
    return (base + (b"." + extension if extension else b"")).decode("cp437")


def _checksum(short: bytes) -> int:
    value = 0
    for byte in short:
        value = (((value & 1) << 7) + (value >> 1) + byte) & 0xFF
    return value


def _error(what: str, offset: int | None) -> FormatError:
    return FormatError(f"FAT file system: {what}", offset, code=CODE)
