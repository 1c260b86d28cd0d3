"""Squashfs 4.0 file systems, read-only: folders and symbolic links, not the content of files.

Specification: Linux ``fs/squashfs/squashfs_fs.h`` and ``Documentation/filesystems/squashfs.rst``. Inodes and folders
stand in metadata blocks of at most 8 KiB, each compressed on its own. Little-endian; no recursion.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from podvm_builder.errors import FormatError
from podvm_builder.formats.compression import decompress
from podvm_builder.formats.filetree import MAX_ENTRIES, Allowance, Kind, TreeEntry
from podvm_builder.model.reader import BinaryReader

CODE = "PVB256"
MAGIC = b"hsqs"
_SUPER = struct.Struct("<4sIIIIHHHHHHQQQQQQQQ")
_COMPRESSION = {1: "zlib", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}
_BLOCK = 8192
_FOLDER = (1, 8)
_KINDS = {1: Kind.FOLDER, 2: Kind.FILE, 3: Kind.LINK, 8: Kind.FOLDER, 9: Kind.FILE, 10: Kind.LINK}
_MAX_FOLDER = 4 << 20
"""Bytes of a folder's listing that are read: a hundred thousand names, and more than any image's folder has."""
_MAX_BLOCKS = 1 << 12
"""Metadata blocks that are kept, 32 MiB: a desktop's root has some 2000 of them, and few are looked at."""


@dataclass(frozen=True, slots=True)
class _Inode:
    kind: int
    size: int
    """Bytes of a file; of a folder's listing and 3 more."""
    block: int
    """Of a folder's listing, from the start of the directory table."""
    offset: int
    target: str = ""


class Squashfs:
    """A file system inside a reader, as a :class:`~podvm_builder.formats.filetree.FileTree`."""

    def __init__(self, reader: BinaryReader) -> None:
        """Read the superblock.

        Raises:
            FormatError: not squashfs 4.0, or its tables lie outside the reader.
        """
        if reader.size < _SUPER.size:
            raise _error("shorter than a superblock", 0)
        fields = _SUPER.unpack(reader.read_at(0, _SUPER.size))
        magic, count, compressor, version = fields[0], fields[1], fields[5], fields[9:11]
        if magic != MAGIC or version != (4, 0):
            raise _error("no superblock of version 4.0", 0)
        root, used, inodes, folders, end = fields[11], fields[12], fields[15], fields[16], fields[17]
        if compressor not in _COMPRESSION:
            raise _error(f"compression {compressor}", 20)
        if used > reader.size or not _SUPER.size <= inodes < folders < used or count > MAX_ENTRIES:
            raise _error("tables outside the file system", 40)
        self._reader = reader
        self._compression = _COMPRESSION[compressor]
        self._inodes = inodes, folders
        self._folders = folders, min(end, used) if end > folders else used
        self._root = root
        self._blocks: dict[int, tuple[bytes, int]] = {}
        self._targets: dict[int, str] = {}
        self._allowance = Allowance("squashfs", CODE)

    def list(self, path: str) -> tuple[TreeEntry, ...]:
        """See :class:`~podvm_builder.formats.filetree.FileTree`."""
        inode = self._inode(self._root)
        for name in [part for part in path.split("/") if part]:
            reference = next((at for at, entry in self._entries(inode) if entry == name), None)
            if reference is None:
                return ()
            inode = self._inode(reference)
            if inode.kind not in _FOLDER:
                return ()
        return tuple(self._described(reference, name) for reference, name in self._entries(inode))

    def _described(self, reference: int, name: str) -> TreeEntry:
        inode = self._inode(reference)
        kind = _KINDS.get(inode.kind, Kind.OTHER)
        return TreeEntry(name=name, kind=kind, size=inode.size if kind is Kind.FILE else 0, target=inode.target)

    def _entries(self, folder: _Inode) -> Iterator[tuple[int, str]]:
        """Yield reference and name of what a folder holds."""
        if folder.kind not in _FOLDER:
            raise _error("a file where a folder is wanted", None)
        if folder.size <= 3:
            return
        if folder.size > _MAX_FOLDER:
            raise _error(f"a folder of {folder.size} bytes", None)
        data = self._read(self._folders, folder.block, folder.offset, folder.size - 3)
        at = 0
        while at < len(data):
            if at + 12 > len(data):
                raise _error("a truncated folder", None)
            count, start, _ = struct.unpack_from("<III", data, at)
            at += 12
            if count >= 256:
                raise _error(f"{count + 1} entries under one header", None)
            for _ in range(count + 1):
                if at + 8 > len(data):
                    raise _error("a truncated folder", None)
                offset, _, _, size = struct.unpack_from("<HhHH", data, at)
                name = data[at + 8 : at + 9 + size]
                if len(name) != size + 1:
                    raise _error("a truncated folder", None)
                at += 9 + size
                self._allowance.name()
                yield start << 16 | offset, name.decode("utf-8", "surrogateescape")

    def _inode(self, reference: int) -> _Inode:
        block, offset = reference >> 16, reference & 0xFFFF
        data = self._read(self._inodes, block, offset, 16 + 24, short=True)
        kind = int.from_bytes(data[:2], "little")
        body = data[16:]
        if len(body) < 16:
            raise _error("a truncated inode", None)
        if kind == 1:
            start, _, size, at = struct.unpack_from("<IIHH", body)
            return _Inode(kind, size, start, at)
        if kind == 8:
            _, size, start, _, _, at = struct.unpack_from("<IIIIHH", body)
            return _Inode(kind, size, start, at)
        if kind == 2:
            return _Inode(kind, struct.unpack_from("<I", body, 12)[0], 0, 0)
        if kind == 9:
            return _Inode(kind, struct.unpack_from("<Q", body, 8)[0], 0, 0)
        if kind in (3, 10):
            (length,) = struct.unpack_from("<I", body, 4)
            if reference not in self._targets:  # any number of names may stand for one inode
                self._allowance.target(length)
                target = self._read(self._inodes, block, offset, 24 + length)[24:]
                self._targets[reference] = target.decode("utf-8", "surrogateescape")
            return _Inode(kind, 0, 0, 0, self._targets[reference])
        return _Inode(kind, 0, 0, 0)

    def _read(self, table: tuple[int, int], block: int, offset: int, length: int, *, short: bool = False) -> bytes:
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
            if wanted > 0 and len(data) < _BLOCK:
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
            if not 0 < size <= _BLOCK or at + 2 + size > end:
                raise _error(f"a metadata block of {size} bytes", at)
            data = self._reader.read_at(at + 2, size)
            if not header & 0x8000:
                data = decompress(self._compression, data, limit=_BLOCK)[0]
            self._blocks[at] = data, size + 2
        return self._blocks[at]


def _error(what: str, offset: int | None) -> FormatError:
    return FormatError(f"squashfs: {what}", offset, code=CODE)
