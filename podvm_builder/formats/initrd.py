"""Initrds: cpio archives ("newc"), compressed or not, one after the other, as Linux unpacks them.

Specification: Linux ``Documentation/driver-api/early-userspace/buffer-format.rst``. Later archives replace what earlier
ones hold; zeros may stand between them. The content of files is passed over.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator

from podvm_builder.errors import FormatError
from podvm_builder.formats.compression import Unsupported, name_of, pieces
from podvm_builder.formats.filetree import MAX_ENTRIES, MAX_LINK, Kind, TreeEntry, find
from podvm_builder.formats.readers import BytesReader, read_all
from podvm_builder.model.reader import BinaryReader

CODE = "PVB257"
MAX_INITRD = 1 << 30
"""Bytes of an initrd, and of all that its streams unpack to together."""
_LEAST_LIMIT, _MAX_RATIO = 64 << 20, 64
"""Bytes that may come out of an initrd in any case, and how many for each byte of it; real ones make four of one."""
_MAX_NAME = 4096
_MAX_STREAMS = 64
"""Compressed streams one behind the other; builders join two or three."""
_MAX_TEXT = 64 << 20
"""Bytes of all names and targets of links."""
_UNIT = re.compile(r"(?:^|/)systemd/system/(?:[^/]+/)?[^/]+\.(?:service|conf)$|^(?:\./)?/?init$")
"""Paths of the files whose content is kept: units and what changes them, and the program that the kernel starts."""
_MAX_UNIT = 1 << 16
_MAX_UNITS = 4 << 20
"""Bytes of such a file, and of all of them, that are kept."""


class Initrd:
    """What an initrd unpacks to, as a :class:`~podvm_builder.formats.filetree.FileTree`."""

    def __init__(self, reader: BinaryReader) -> None:
        """Unpack, and hold the content of units and ``init`` alone.

        Raises:
            FormatError: neither cpio nor a compression of it, or damaged, or too large.
            Unsupported: compressed in a way that cannot be read here.
        """
        if reader.size > MAX_INITRD:
            raise _error(f"{reader.size} bytes; at most {MAX_INITRD} are credible", 0)
        self._folders: dict[str, dict[str, TreeEntry]] = {"": {}}
        self._count = 0
        self._text = 0
        self._units: dict[str, bytes] = {}
        self._kept = 0
        data = memoryview(read_all(reader))
        at = streams = unpacked = 0
        limit = min(MAX_INITRD, max(_LEAST_LIMIT, _MAX_RATIO * len(data)))
        while at < len(data):
            head = bytes(data[at : at + 8])
            if not head[0] or head.startswith(b"07070"):
                source = _Source(iter((data[at:],)))
                self._archives(source, whole=False)
                at += source.at
                continue
            streams += 1
            if streams > _MAX_STREAMS:
                raise _error(f"more than {_MAX_STREAMS} compressed streams", at)
            name = name_of(head)
            if name is None:
                raise _error("neither a cpio archive nor a compression known here", at)
            stream = _Stream(name, data[at:], limit - unpacked)
            self._archives(_Source(iter(stream)), whole=True)
            unpacked += stream.unpacked
            at += stream.used

    def list(self, path: str) -> tuple[TreeEntry, ...]:
        """See :class:`~podvm_builder.formats.filetree.FileTree`."""
        return tuple(self._folders.get("/".join(part for part in path.split("/") if part), {}).values())

    def open(self, path: str) -> BytesReader:
        """See :class:`~podvm_builder.formats.filetree.ReadableTree`; what can be read is held already."""
        return BytesReader(self.read(path))

    def read(self, path: str) -> bytes:
        """See :class:`~podvm_builder.formats.filetree.ReadableTree`; units and ``init`` alone can be read.

        Raises:
            FormatError: there is no such unit.
            Unsupported: it is larger than units are, or not a unit.
        """
        name = "/".join(part for part in path.split("/") if part)
        found = self._units.get(name)
        if found is not None:
            return found
        entry = find(self, name)
        if entry is None or entry.kind is not Kind.FILE:
            raise _error(f"no file `{path}`", None)
        raise Unsupported(f"`{path}` of the initrd is not kept: {entry.size} bytes")

    def _archives(self, source: _Source, *, whole: bool) -> None:
        """Read archives with zeros between them: all that there is, or as long as cpio follows on cpio."""
        while source.skip_zeros():
            if not whole and source.peek(5) != b"07070":
                return
            self._archive(source)

    def _archive(self, source: _Source) -> None:
        while True:
            at = source.at
            head = source.peek(110)
            if len(head) < 110 or head[:6] not in (b"070701", b"070702"):
                raise _error("no cpio header of the `newc` form", at)
            try:
                mode, size, length = (int(head[start : start + 8], 16) for start in (14, 54, 94))
            except ValueError:
                raise _error("a cpio header that is not hexadecimal", at) from None
            if not 0 < length <= _MAX_NAME:
                raise _error(f"a name of {length} bytes", at)
            source.skip(110)
            name = source.take(length)[:-1].decode("utf-8", "surrogateescape")
            source.skip(-(110 + length) % 4)
            target = content = b""
            if stat.S_ISREG(mode) and self._keeps(name, size):
                content = source.take(size)
            elif stat.S_ISLNK(mode) and size <= MAX_LINK:  # Linux leaves out links that are longer
                target = source.take(size)
            else:
                source.skip(size)
            source.skip(-size % 4, short=True)
            if name == "TRAILER!!!":
                return
            self._text += length + len(target)
            if self._text > _MAX_TEXT:
                raise _error(f"more than {_MAX_TEXT} bytes of names", at)
            self._add(name, mode, size, target.decode("utf-8", "surrogateescape"))
            self._keep(name, mode, content, size)

    def _keeps(self, name: str, size: int) -> bool:
        return size <= _MAX_UNIT and self._kept + size <= _MAX_UNITS and _UNIT.search(name) is not None

    def _keep(self, name: str, mode: int, content: bytes, size: int) -> None:
        """Hold a unit; whatever comes later by the same name takes its place."""
        path = "/".join(part for part in name.split("/") if part not in ("", "."))
        self._kept -= len(self._units.pop(path, b""))
        if stat.S_ISREG(mode) and len(content) == size and _UNIT.search(path) is not None:
            self._units[path] = content
            self._kept += size

    def _add(self, path: str, mode: int, size: int, target: str) -> None:
        self._count += 1
        if self._count > MAX_ENTRIES:
            raise _error(f"more than {MAX_ENTRIES} names", None)
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if not parts:
            return
        folder, name = "/".join(parts[:-1]), parts[-1]
        kind = Kind.OTHER
        for test, known in ((stat.S_ISDIR, Kind.FOLDER), (stat.S_ISLNK, Kind.LINK), (stat.S_ISREG, Kind.FILE)):
            if test(mode):
                kind = known
        if kind is Kind.FOLDER:
            self._folders.setdefault("/".join(parts), {})
        permissions = stat.S_IMODE(mode) if kind is not Kind.LINK else 0
        size = size if kind is Kind.FILE else 0
        entry = TreeEntry(name=name, kind=kind, size=size, mode=permissions, target=target)
        self._folders.setdefault(folder, {})[name] = entry


class _Stream:
    """The pieces of one compressed stream, counted."""

    def __init__(self, name: str, data: memoryview, limit: int) -> None:
        self._name = name
        self._data = data
        self._limit = limit
        self.unpacked = 0
        self.used = 0
        """Bytes of ``data`` that the stream has, once all pieces were taken."""

    def __iter__(self) -> Iterator[memoryview]:
        for piece, used in pieces(self._name, self._data):
            self.used = used
            self.unpacked += len(piece)
            if self.unpacked > self._limit:
                raise _error(f"more bytes come out than are credible, {self._limit} and more", None)
            yield memoryview(piece)


class _Source:
    """Bytes that come in pieces, read from the front; only what is looked at is put together."""

    def __init__(self, parts: Iterator[memoryview]) -> None:
        self._parts = parts
        self._rest = memoryview(b"")
        self.at = 0

    def peek(self, length: int) -> bytes:
        """Return what comes next, fewer bytes at the end."""
        while len(self._rest) < length and (part := next(self._parts, None)) is not None:
            self._rest = memoryview(bytes(self._rest) + part) if self._rest else part
        return bytes(self._rest[:length])

    def take(self, length: int) -> bytes:
        """Return exactly so many bytes and pass over them."""
        data = self.peek(length)
        self.skip(length)
        return data

    def skip(self, length: int, *, short: bool = False) -> None:
        """Pass over so many bytes; ``short``: or as many as there are."""
        self.at += length
        while length > len(self._rest):
            length -= len(self._rest)
            part = next(self._parts, None)
            self._rest = memoryview(b"") if part is None else part
            if part is None:
                self.at -= length
                if short:
                    return
                raise _error("a cpio entry that ends behind the archive", self.at)
        self._rest = self._rest[length:]

    def skip_zeros(self) -> bool:
        """Pass over zeros, and say whether something follows."""
        while data := self.peek(4096):
            zeros = len(data) - len(data.lstrip(b"\0"))
            self.skip(zeros)
            if zeros < len(data):
                return True
        return False


def _error(what: str, offset: int | None) -> FormatError:
    return FormatError(f"initrd: {what}", offset, code=CODE)
