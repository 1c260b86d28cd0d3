"""Squashfs 4.0 file systems, read-only: folders, symbolic links and files.

Specification: Linux ``fs/squashfs/squashfs_fs.h`` and ``Documentation/filesystems/squashfs.rst``. Inodes and folders
stand in metadata blocks of at most 8 KiB, each compressed on its own; files in blocks of their own, and their ends
together in fragments. Little-endian; no recursion.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from podvm_builder.errors import FormatError
from podvm_builder.formats.compression import decompress
from podvm_builder.formats.filetree import MAX_ENTRIES, MAX_FILE, Allowance, Kind, TreeEntry
from podvm_builder.formats.squashfs_metadata import CODE, NO_XATTRS, Attributes, Metadata
from podvm_builder.model.reader import BinaryReader

MAGIC = b"hsqs"
_SUPER = struct.Struct("<4sIIIIHHHHHHQQQQQQQQ")
_COMPRESSION = {1: "zlib", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}
_MAX_DATA_BLOCK = 1 << 20
_STORED = 1 << 24
"""Of a data block's or fragment's size: it is not compressed."""
_NO_FRAGMENT = 0xFFFFFFFF
_FOLDER = (1, 8)
_KINDS = {1: Kind.FOLDER, 2: Kind.FILE, 3: Kind.LINK, 8: Kind.FOLDER, 9: Kind.FILE, 10: Kind.LINK}
_MAX_FOLDER = 4 << 20
"""Bytes of a folder's listing that are read: a hundred thousand names, and more than any image's folder has."""
_MAX_FILE_BLOCKS = 1 << 16
"""Blocks of a file: 8 GiB of the usual ones."""
_KEPT_ENDS = 16


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
    ids: tuple[int, int] = (0, 0)
    """Owner and group, as numbers of the table of IDs."""
    changed: int = 0
    xattrs: int = NO_XATTRS
    """Number of its set of extended attributes."""


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
        self._metadata = Metadata(reader, self._compression)
        self._attributes = Attributes(self._metadata, fields[13], fields[8], fields[14])
        self._targets: dict[int, str] = {}
        self._ends: dict[int, bytes] = {}
        """The fragments that were read last, by place: neighbours share them."""
        self._known: dict[str, int] = {}
        """References of folders by path, of those whose folder was listed."""
        self._allowance = Allowance("squashfs", CODE)

    def list(self, path: str) -> tuple[TreeEntry, ...]:
        """See :class:`~podvm_builder.formats.filetree.FileTree`."""
        inode = self._walk(path)
        if inode is None or inode.kind not in _FOLDER:
            return ()
        prefix = "/".join(part for part in path.split("/") if part)
        found = []
        for reference, name in self._entries(inode):
            entry = self._described(reference, name)
            if entry.kind is Kind.FOLDER:
                self._known[f"{prefix}/{name}" if prefix else name] = reference
            found.append(entry)
        return tuple(found)

    def open(self, path: str) -> SquashfsFile:
        """See :class:`~podvm_builder.formats.filetree.ReadableTree`."""
        inode = self._walk(path)
        if inode is None or _KINDS.get(inode.kind) is not Kind.FILE:
            raise _error(f"no file `{path}`", None)
        whole, rest = divmod(inode.size, self._block_size)
        count = whole + (1 if rest and inode.fragment == _NO_FRAGMENT else 0)
        if count > _MAX_FILE_BLOCKS:
            raise _error(f"`{path}` has {inode.size} bytes", None)
        sizes = struct.unpack(f"<{count}I", self._metadata.read(self._inodes, *inode.sizes, 4 * count))
        return SquashfsFile(self, inode, sizes)

    def block_of(self, inode: _Inode, at: int, size: int | None, wanted: int) -> bytes:
        """Return one block of a file; ``size`` None: its end, which stands in a fragment."""
        if size is not None:
            return self._data(at, size, wanted) if size else bytes(wanted)  # a size of 0 stands for a hole
        start, size = self._fragment(inode.fragment)
        if start not in self._ends:
            if len(self._ends) >= _KEPT_ENDS:
                self._ends.pop(next(iter(self._ends)))
            self._ends[start] = self._data(start, size, self._block_size)
        piece = self._ends[start][inode.offset : inode.offset + wanted]
        if len(piece) != wanted:
            raise _error("a file behind the end of its fragment", start)
        return piece

    @property
    def block_size(self) -> int:
        """Bytes of a file's blocks before they are compressed."""
        size: int = self._block_size
        return size

    def read(self, path: str) -> bytes:
        """See :class:`~podvm_builder.formats.filetree.ReadableTree`."""
        file = self.open(path)
        if file.size > MAX_FILE:
            raise _error(f"`{path}` has {file.size} bytes", None)
        return file.read_at(0, file.size)

    def _walk(self, path: str) -> _Inode | None:
        """Return what stands at a path, None where nothing does."""
        parts = [part for part in path.split("/") if part]
        depth = next((end for end in range(len(parts), 0, -1) if "/".join(parts[:end]) in self._known), 0)
        inode = self._inode(self._known["/".join(parts[:depth])] if depth else self._root)
        for name in parts[depth:]:
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
        entry = self._metadata.listed(self._fragments, number, 16)
        start, size, _ = struct.unpack("<QII", entry)
        return start, size

    def _described(self, reference: int, name: str) -> TreeEntry:
        inode = self._inode(reference)
        kind = _KINDS.get(inode.kind, Kind.OTHER)
        return TreeEntry(
            name=name,
            kind=kind,
            size=inode.size if kind is Kind.FILE else 0,
            mode=0 if kind is Kind.LINK else inode.mode & 0o7777,
            target=inode.target,
            owner=self._attributes.number(inode.ids[0]),
            group=self._attributes.number(inode.ids[1]),
            changed=inode.changed,
            capabilities=self._attributes.capable(inode.xattrs),
        )

    def _entries(self, folder: _Inode) -> Iterator[tuple[int, str]]:
        """Yield reference and name of what a folder holds."""
        if folder.kind not in _FOLDER:
            raise _error("a file where a folder is wanted", None)
        if folder.size <= 3:
            return
        if folder.size > _MAX_FOLDER:
            raise _error(f"a folder of {folder.size} bytes", None)
        data = self._metadata.read(self._folders, folder.block, folder.offset, folder.size - 3)
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
        data = self._metadata.read(self._inodes, block, offset, 16 + 40, short=True)
        if len(data) < 16 + 16:
            raise _error("a truncated inode", None)
        kind, mode, owner, group, changed = struct.unpack_from("<HHHHI", data)
        made = self._body(kind, data[16:], block, offset, reference)
        return replace(made, mode=mode, ids=(owner, group), changed=changed)

    def _body(self, kind: int, body: bytes, block: int, offset: int, reference: int) -> _Inode:
        """Return what stands behind the part that all inodes have."""
        if kind == 1:
            start, _, size, at = struct.unpack_from("<IIHH", body)
            return _Inode(kind, size, start, at)
        if kind == 8:
            _, size, start, _, _, at, xattrs = struct.unpack_from("<IIIIHHI", body)
            return _Inode(kind, size, start, at, xattrs=xattrs)
        if kind == 2:
            start, fragment, at, size = struct.unpack_from("<IIII", body)
            return _Inode(kind, size, start, at, fragment=fragment, sizes=(block, offset + 32))
        if kind == 9:
            if len(body) < 40:
                raise _error("a truncated inode", None)
            start, size, _, _, fragment, at, xattrs = struct.unpack_from("<QQQIIII", body)
            return _Inode(kind, size, start, at, fragment=fragment, sizes=(block, offset + 56), xattrs=xattrs)
        if kind in (3, 10):
            (length,) = struct.unpack_from("<I", body, 4)
            if reference not in self._targets:  # any number of names may stand for one inode
                self._allowance.target(length)
                target = self._metadata.read(self._inodes, block, offset, 24 + length)[24:]
                self._targets[reference] = target.decode("utf-8", "surrogateescape")
            return _Inode(kind, 0, 0, 0, self._targets[reference])
        return _Inode(kind, 0, 0, 0)


class SquashfsFile:
    """A file's content as a :class:`~podvm_builder.model.reader.BinaryReader`: blocks are unpacked as they are read."""

    def __init__(self, tree: Squashfs, inode: _Inode, sizes: tuple[int, ...]) -> None:
        """Keep where the blocks stand."""
        self._tree = tree
        self._inode = inode
        self._sizes = sizes
        self._starts = [inode.block]
        for size in sizes:
            self._starts.append(self._starts[-1] + (size & ~_STORED))
        self._last: tuple[int, bytes] = (-1, b"")

    @property
    def size(self) -> int:
        """Bytes."""
        return self._inode.size

    def read_at(self, offset: int, length: int) -> bytes:
        """See :class:`~podvm_builder.model.reader.BinaryReader`."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise _error(f"{length} bytes are wanted beyond the end of a file", offset)
        parts = []
        while length:
            number, within = divmod(offset, self._tree.block_size)
            piece = self._block(number)[within : within + length]
            parts.append(piece)
            offset += len(piece)
            length -= len(piece)
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        if self._last[0] != number:
            wanted = min(self._tree.block_size, self.size - number * self._tree.block_size)
            size = self._sizes[number] if number < len(self._sizes) else None
            at = self._starts[number] if size is not None else 0
            data = self._tree.block_of(self._inode, at, size, wanted)
            if len(data) != wanted:
                raise _error("a block that is too short", at)
            self._last = number, data
        return self._last[1]


def _error(what: str, offset: int | None) -> FormatError:
    return FormatError(f"squashfs: {what}", offset, code=CODE)
