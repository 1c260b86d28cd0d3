"""Squashfs 4.0 file systems, read-only: folders, symbolic links and small files.

Specification: Linux ``fs/squashfs/squashfs_fs.h`` and ``Documentation/filesystems/squashfs.rst``. Inodes and folders
stand in metadata blocks of at most 8 KiB, each compressed on its own; files in blocks of their own, and their ends
together in fragments. Little-endian; no recursion.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from podvm_builder.errors import FormatError
from podvm_builder.formats.compression import decompress
from podvm_builder.formats.filetree import MAX_ENTRIES, MAX_FILE, Allowance, Kind, TreeEntry
from podvm_builder.model.reader import BinaryReader

CODE = "PVB256"
MAGIC = b"hsqs"
_SUPER = struct.Struct("<4sIIIIHHHHHHQQQQQQQQ")
_COMPRESSION = {1: "zlib", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}
_BLOCK = 8192
_MAX_DATA_BLOCK = 1 << 20
_STORED = 1 << 24
"""Of a data block's or fragment's size: it is not compressed."""
_NO_FRAGMENT = 0xFFFFFFFF
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
    """Of a folder's listing, from the start of the directory table; of a file's data, from the file system's start."""
    offset: int
    """Of a folder's listing, in its block; of a file's end, in its fragment."""
    target: str = ""
    mode: int = 0
    fragment: int = _NO_FRAGMENT
    sizes: tuple[int, int] = (0, 0)
    """Block and offset in the inode table of the sizes of a file's blocks."""


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
        if not 4096 <= fields[3] <= _MAX_DATA_BLOCK:
            raise _error(f"blocks of {fields[3]} bytes", 12)
        if used > reader.size or not _SUPER.size <= inodes < folders < used or count > MAX_ENTRIES:
            raise _error("tables outside the file system", 40)
        self._reader = reader
        self._compression = _COMPRESSION[compressor]
        self._inodes = inodes, folders
        self._folders = folders, min(end, used) if end > folders else used
        self._root = root
        self._block_size, self._fragments, self._fragment_count = fields[3], fields[17], fields[4]
        self._blocks: dict[int, tuple[bytes, int]] = {}
        self._targets: dict[int, str] = {}
        self._allowance = Allowance("squashfs", CODE)

    def list(self, path: str) -> tuple[TreeEntry, ...]:
        """See :class:`~podvm_builder.formats.filetree.FileTree`."""
        inode = self._walk(path)
        if inode is None or inode.kind not in _FOLDER:
            return ()
        return tuple(self._described(reference, name) for reference, name in self._entries(inode))

    def read(self, path: str) -> bytes:
        """See :class:`~podvm_builder.formats.filetree.ReadableTree`."""
        inode = self._walk(path)
        if inode is None or _KINDS.get(inode.kind) is not Kind.FILE:
            raise _error(f"no file `{path}`", None)
        if inode.size > MAX_FILE:
            raise _error(f"`{path}` has {inode.size} bytes", None)
        whole, rest = divmod(inode.size, self._block_size)
        count = whole + (1 if rest and inode.fragment == _NO_FRAGMENT else 0)
        data = bytearray()
        at = inode.block
        for (size,) in struct.iter_unpack("<I", self._read(self._inodes, *inode.sizes, 4 * count)):
            wanted = min(self._block_size, inode.size - len(data))
            data += self._data(at, size, wanted) if size else bytes(wanted)  # a size of 0 stands for a hole
            at += size & ~_STORED
        if len(data) < inode.size:
            start, size = self._fragment(inode.fragment)
            piece = self._data(start, size, self._block_size)[inode.offset : inode.offset + rest]
            if len(piece) != rest:
                raise _error("a file behind the end of its fragment", start)
            data += piece
        return bytes(data)

    def _walk(self, path: str) -> _Inode | None:
        """Return what stands at a path, None where nothing does."""
        inode = self._inode(self._root)
        for name in [part for part in path.split("/") if part]:
            if inode.kind not in _FOLDER:
                return None
            reference = next((at for at, entry in self._entries(inode) if entry == name), None)
            if reference is None:
                return None
            inode = self._inode(reference)
        return inode

    def _data(self, at: int, size: int, wanted: int) -> bytes:
        """Return what a data block or fragment holds, at most as much as is wanted."""
        length = size & ~_STORED
        if not 0 < length <= self._block_size or at + length > self._reader.size:
            raise _error(f"a block of {length} bytes", at)
        data = self._reader.read_at(at, length)
        if not size & _STORED:
            data = decompress(self._compression, data, limit=self._block_size)[0]
        return data[:wanted]

    def _fragment(self, number: int) -> tuple[int, int]:
        """Return place and size of a fragment, from 16 bytes in the metadata blocks that a list of pointers names."""
        if number >= self._fragment_count:
            raise _error(f"fragment {number} of {self._fragment_count}", None)
        pointer = self._fragments + number // 512 * 8
        if pointer + 8 > self._reader.size:
            raise _error("a list of fragments behind the end", pointer)
        (block,) = struct.unpack("<Q", self._reader.read_at(pointer, 8))
        entry = self._read((block, self._fragments), 0, number % 512 * 16, 16)
        start, size, _ = struct.unpack("<QII", entry)
        return start, size

    def _described(self, reference: int, name: str) -> TreeEntry:
        inode = self._inode(reference)
        kind = _KINDS.get(inode.kind, Kind.OTHER)
        size = inode.size if kind is Kind.FILE else 0
        return TreeEntry(name=name, kind=kind, size=size, mode=inode.mode, target=inode.target)

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
        data = self._read(self._inodes, block, offset, 16 + 40, short=True)
        if len(data) < 16 + 16:
            raise _error("a truncated inode", None)
        kind, mode = struct.unpack_from("<HH", data)
        body = data[16:]
        if kind == 1:
            start, _, size, at = struct.unpack_from("<IIHH", body)
            return _Inode(kind, size, start, at)
        if kind == 8:
            _, size, start, _, _, at = struct.unpack_from("<IIIIHH", body)
            return _Inode(kind, size, start, at)
        if kind == 2:
            start, fragment, at, size = struct.unpack_from("<IIII", body)
            return _Inode(kind, size, start, at, mode=mode, fragment=fragment, sizes=(block, offset + 32))
        if kind == 9:
            if len(body) < 40:
                raise _error("a truncated inode", None)
            start, size, _, _, fragment, at = struct.unpack_from("<QQQIII", body)
            return _Inode(kind, size, start, at, mode=mode, fragment=fragment, sizes=(block, offset + 56))
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
