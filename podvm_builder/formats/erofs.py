"""EROFS file systems, read-only: folders, symbolic links, and files that are stored flat.

Specification: Linux ``fs/erofs/erofs_fs.h`` and ``Documentation/filesystems/erofs.rst``. Folders and links are stored
flat, whatever the compression of files, and so are files that fit into a block: nothing is to be decompressed.
Little-endian; no recursion.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from podvm_builder.errors import FormatError
from podvm_builder.formats.compression import Unsupported
from podvm_builder.formats.filetree import MAX_FILE, Allowance, Kind, TreeEntry
from podvm_builder.model.reader import BinaryReader

CODE = "PVB256"
MAGIC = b"\xe2\xe1\xf5\xe0"
OFFSET = 1024
"""Of the superblock."""

_MAX_FOLDER = 4 << 20
_PLAIN, _INLINE = 0, 2
_INCOMPAT_48BIT = 0x80
_METABOX = 0x100


@dataclass(frozen=True, slots=True)
class _Inode:
    mode: int
    size: int
    layout: int
    block: int
    inline: int
    """Offset of what stands behind the inode."""


class Erofs:
    """A file system inside a reader, as a :class:`~podvm_builder.formats.filetree.FileTree`."""

    def __init__(self, reader: BinaryReader) -> None:
        """Read the superblock.

        Raises:
            FormatError: not EROFS, or absurd sizes.
            Unsupported: a layout of metadata that is newer than what is known here.
        """
        if reader.size < OFFSET + 128:
            raise _error("shorter than a superblock", 0)
        block = reader.read_at(OFFSET, 128)
        if block[:4] != MAGIC:
            raise _error("no superblock", OFFSET)
        bits = block[12]
        (root,) = struct.unpack_from("<H", block, 14)
        (start,) = struct.unpack_from("<I", block, 40)
        (features,) = struct.unpack_from("<I", block, 80)
        if not 9 <= bits <= 16:
            raise _error(f"blocks of 2^{bits} bytes", OFFSET + 12)
        if features & (_INCOMPAT_48BIT | _METABOX):
            raise Unsupported("an EROFS whose metadata is laid out in a way that is newer than what is known here")
        self._reader = reader
        self._bits = bits
        self._start = start << bits
        self._root = root
        self._targets: dict[int, str] = {}
        self._allowance = Allowance("EROFS", CODE)

    def list(self, path: str) -> tuple[TreeEntry, ...]:
        """See :class:`~podvm_builder.formats.filetree.FileTree`."""
        inode = self._walk(path)
        if inode is None or not stat.S_ISDIR(inode.mode):
            return ()
        return tuple(self._described(number, name) for number, name in self._entries(inode))

    def read(self, path: str) -> bytes:
        """See :class:`~podvm_builder.formats.filetree.ReadableTree`."""
        inode = self._walk(path)
        if inode is None or not stat.S_ISREG(inode.mode):
            raise _error(f"no file `{path}`", None)
        if inode.size > MAX_FILE:
            raise _error(f"`{path}` has {inode.size} bytes", None)
        return self._data(inode)

    def _walk(self, path: str) -> _Inode | None:
        """Return what stands at a path, None where nothing does."""
        inode = self._inode(self._root)
        for name in [part for part in path.split("/") if part]:
            if not stat.S_ISDIR(inode.mode):
                return None
            number = next((number for number, entry in self._entries(inode) if entry == name), None)
            if number is None:
                return None
            inode = self._inode(number)
        return inode

    def _described(self, number: int, name: str) -> TreeEntry:
        inode = self._inode(number)
        if stat.S_ISLNK(inode.mode):
            if number not in self._targets:  # any number of names may stand for one inode
                self._allowance.target(inode.size)
                self._targets[number] = self._data(inode).decode("utf-8", "surrogateescape")
            return TreeEntry(name=name, kind=Kind.LINK, target=self._targets[number])
        if stat.S_ISREG(inode.mode):
            return TreeEntry(name=name, kind=Kind.FILE, size=inode.size, mode=stat.S_IMODE(inode.mode))
        return TreeEntry(name=name, kind=Kind.FOLDER if stat.S_ISDIR(inode.mode) else Kind.OTHER)

    def _inode(self, number: int) -> _Inode:
        at = self._start + number * 32
        head = self._take(at, 32)
        form, xattrs, mode = struct.unpack_from("<HHH", head)
        extended = form & 1
        layout = form >> 1 & 7
        size = struct.unpack_from("<Q" if extended else "<I", head, 8)[0]
        (block,) = struct.unpack_from("<I", head, 16)
        after = at + (64 if extended else 32) + (12 + 4 * (xattrs - 1) if xattrs else 0)
        return _Inode(mode, size, layout, block, after)

    def _data(self, inode: _Inode) -> bytes:
        """Return the content of a folder, link or file."""
        if inode.size > _MAX_FOLDER:
            raise _error(f"a folder, link or file of {inode.size} bytes", None)
        if inode.layout == _PLAIN:
            return self._take(inode.block << self._bits, inode.size)
        if inode.layout != _INLINE:
            raise Unsupported("EROFS files that are compressed")
        tail = inode.size & (1 << self._bits) - 1
        flat = self._take(inode.block << self._bits, inode.size - tail) if inode.size > tail else b""
        return flat + self._take(inode.inline, tail)

    def _entries(self, folder: _Inode) -> Iterator[tuple[int, str]]:
        """Yield inode number and name of what a folder holds, without itself and the one above."""
        data = self._data(folder)
        size = 1 << self._bits
        for at in range(0, len(data), size):
            for entry in _block_entries(data[at : at + size]):
                self._allowance.name()
                yield entry

    def _take(self, offset: int, length: int) -> bytes:
        if offset + length > self._reader.size:
            raise _error("a reference behind the end", offset)
        return self._reader.read_at(offset, length)


def _block_entries(block: bytes) -> Iterator[tuple[int, str]]:
    """Yield the entries of one block: 12 bytes each, then the names, the last of which may be padded with zeros."""
    if len(block) < 12:
        raise _error("a truncated folder", None)
    (first,) = struct.unpack_from("<H", block, 8)
    if first % 12 or not 12 <= first <= len(block):
        raise _error(f"names at {first} of a folder's block", None)
    starts = [struct.unpack_from("<H", block, at + 8)[0] for at in range(0, first, 12)]
    for index, start in enumerate(starts):
        end = starts[index + 1] if index + 1 < len(starts) else len(block)
        if not first <= start < end:
            raise _error("names of a folder that overlap", None)
        name = block[start:end].split(b"\0")[0]
        if name not in (b".", b".."):
            (number,) = struct.unpack_from("<Q", block, index * 12)
            yield number, name.decode("utf-8", "surrogateescape")


def _error(what: str, offset: int | None) -> FormatError:
    return FormatError(f"EROFS: {what}", offset, code=CODE)
