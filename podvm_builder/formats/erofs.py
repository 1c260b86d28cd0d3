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
from podvm_builder.formats.readers import Extent, ExtentReader
from podvm_builder.model.reader import BinaryReader

CODE = "PVB256"
MAGIC = b"\xe2\xe1\xf5\xe0"
OFFSET = 1024
"""Of the superblock."""

_MAX_FOLDER = 4 << 20
_PLAIN, _INLINE = 0, 2
_SECURITY = 6
"""Number of the prefix ``security.`` of extended attributes' names."""
_INCOMPAT_48BIT = 0x80
_METABOX = 0x100
_CAPABILITY = b"capability"


@dataclass(frozen=True, slots=True)
class _Inode:
    mode: int
    size: int
    layout: int
    block: int
    inline: int
    """Offset of what stands behind the inode."""
    owner: int
    group: int
    changed: int
    xattrs: tuple[int, int]
    """Offset and length of its extended attributes."""


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
        (self._shared,) = struct.unpack_from("<I", block, 44)
        (self._built,) = struct.unpack_from("<Q", block, 24)
        self._targets: dict[int, str] = {}
        self._known: dict[str, int] = {}
        """Inode numbers of folders by path, of those whose folder was listed."""
        self._allowance = Allowance("EROFS", CODE)

    def list(self, path: str) -> tuple[TreeEntry, ...]:
        """See :class:`~podvm_builder.formats.filetree.FileTree`."""
        inode = self._walk(path)
        if inode is None or not stat.S_ISDIR(inode.mode):
            return ()
        prefix = "/".join(part for part in path.split("/") if part)
        found = []
        for number, name in self._entries(inode):
            entry = self._described(number, name)
            if entry.kind is Kind.FOLDER:
                self._known[f"{prefix}/{name}" if prefix else name] = number
            found.append(entry)
        return tuple(found)

    def open(self, path: str) -> ExtentReader:
        """See :class:`~podvm_builder.formats.filetree.ReadableTree`."""
        inode = self._walk(path)
        if inode is None or not stat.S_ISREG(inode.mode):
            raise _error(f"no file `{path}`", None)
        if inode.layout not in (_PLAIN, _INLINE):
            raise Unsupported("EROFS files that are compressed")
        tail = inode.size & (1 << self._bits) - 1 if inode.layout == _INLINE else 0
        extents = (Extent(inode.block << self._bits, inode.size - tail), Extent(inode.inline, tail))
        for extent in extents:
            if extent.length and (extent.offset or 0) + extent.length > self._reader.size:
                raise _error("a reference behind the end", extent.offset)
        return ExtentReader(self._reader, tuple(extent for extent in extents if extent.length))

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
        parts = [part for part in path.split("/") if part]
        depth = next((end for end in range(len(parts), 0, -1) if "/".join(parts[:end]) in self._known), 0)
        inode = self._inode(self._known["/".join(parts[:depth])] if depth else self._root)
        for name in parts[depth:]:
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
            return TreeEntry(
                name=name,
                kind=Kind.LINK,
                target=self._targets[number],
                owner=inode.owner,
                group=inode.group,
                changed=inode.changed,
            )
        kinds = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.FOLDER}
        kind = kinds.get(stat.S_IFMT(inode.mode), Kind.OTHER)
        return TreeEntry(
            name=name,
            kind=kind,
            size=inode.size if kind is Kind.FILE else 0,
            mode=stat.S_IMODE(inode.mode),
            owner=inode.owner,
            group=inode.group,
            changed=inode.changed,
            capabilities=kind is Kind.FILE and self._has_capabilities(inode),
        )

    def _inode(self, number: int) -> _Inode:
        at = self._start + number * 32
        head = self._take(at, 32)
        form, xattrs, mode = struct.unpack_from("<HHH", head)
        layout = form >> 1 & 7
        (block,) = struct.unpack_from("<I", head, 16)
        if form & 1:
            head = self._take(at, 64)
            (size,) = struct.unpack_from("<Q", head, 8)
            owner, group, changed = struct.unpack_from("<IIQ", head, 24)
        else:
            (size,) = struct.unpack_from("<I", head, 8)
            owner, group = struct.unpack_from("<HH", head, 24)
            changed = self._built
        behind = at + len(head)
        length = 12 + 4 * (xattrs - 1) if xattrs else 0
        return _Inode(mode, size, layout, block, behind + length, owner, group, changed, (behind, length))

    def _has_capabilities(self, inode: _Inode) -> bool:
        """Say whether an inode has ``security.capability``.

        Specification: ``fs/erofs/xattr.c``: 12 bytes of which the fifth is the number of references into the shared
        attributes, those references, and the attributes that the inode has for itself.
        """
        start, length = inode.xattrs
        if not length:
            return False
        data = self._take(start, length)
        shared = data[4]
        at = 12 + 4 * shared
        if at > length:
            raise _error("truncated extended attributes", start)
        for (number,) in struct.iter_unpack("<I", data[12:at]):
            place = (self._shared << self._bits) + 4 * number
            if self._is_capability(self._take(place, min(4 + len(_CAPABILITY), self._reader.size - place))):
                return True
        while at + 4 <= length and data[at : at + 4] != bytes(4):
            if self._is_capability(data[at : at + 4 + len(_CAPABILITY)]):
                return True
            name, _, value = struct.unpack_from("<BBH", data, at)
            at += -(-(4 + name + value) // 4) * 4
        return False

    @staticmethod
    def _is_capability(entry: bytes) -> bool:
        name, prefix, _ = struct.unpack_from("<BBH", entry)
        return prefix == _SECURITY and name == len(_CAPABILITY) and entry[4:] == _CAPABILITY

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
