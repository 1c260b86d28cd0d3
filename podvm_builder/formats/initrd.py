"""Initrds: cpio archives ("newc"), compressed or not, one after the other, as Linux unpacks them.

Specification: Linux ``Documentation/driver-api/early-userspace/buffer-format.rst``. Later archives replace what earlier
ones hold; zeros may stand between them. The content of files is passed over.
"""

from __future__ import annotations

import stat

from podvm_builder.errors import FormatError
from podvm_builder.formats.compression import decompress, name_of
from podvm_builder.formats.filetree import MAX_ENTRIES, Kind, TreeEntry
from podvm_builder.formats.readers import read_all
from podvm_builder.model.reader import BinaryReader

CODE = "PVB257"
MAX_INITRD = 1 << 30
"""Bytes of an initrd, compressed, and of each of its archives, unpacked."""
_MAX_LINK = 65535
_MAX_STREAMS = 64
"""Compressed streams one behind the other; builders join two or three."""


class Initrd:
    """What an initrd unpacks to, as a :class:`~podvm_builder.formats.filetree.FileTree`."""

    def __init__(self, reader: BinaryReader) -> None:
        """Unpack.

        Raises:
            FormatError: neither cpio nor a compression of it, or damaged, or too large.
            Unsupported: compressed in a way that cannot be read here.
        """
        if reader.size > MAX_INITRD:
            raise _error(f"{reader.size} bytes; at most {MAX_INITRD} are credible", 0)
        self._folders: dict[str, dict[str, TreeEntry]] = {"": {}}
        self._count = 0
        data = read_all(reader)
        at = streams = 0
        left = MAX_INITRD
        while at < len(data):
            if data[at] == 0:
                at += len(data[at : at + 4096]) - len(data[at : at + 4096].lstrip(b"\0"))
            elif data[at : at + 5] == b"07070":
                at = self._archive(data, at)
            else:
                streams += 1
                if streams > _MAX_STREAMS:
                    raise _error(f"more than {_MAX_STREAMS} compressed streams", at)
                name = name_of(data[at : at + 8])
                if name is None:
                    raise _error("neither a cpio archive nor a compression known here", at)
                unpacked, size = decompress(name, data[at:], limit=left)
                left -= len(unpacked)
                self._archives(unpacked)
                at += size

    def list(self, path: str) -> tuple[TreeEntry, ...]:
        """See :class:`~podvm_builder.formats.filetree.FileTree`."""
        return tuple(self._folders.get("/".join(part for part in path.split("/") if part), {}).values())

    def _archives(self, data: bytes) -> None:
        """Read what one compressed stream held: archives, with zeros between them."""
        at = 0
        while at < len(data):
            if data[at] == 0:
                at += len(data[at : at + 4096]) - len(data[at : at + 4096].lstrip(b"\0"))
            else:
                at = self._archive(data, at)

    def _archive(self, data: bytes, at: int) -> int:
        """Read one archive and return where it ends."""
        while True:
            head = data[at : at + 110]
            if len(head) < 110 or head[:6] not in (b"070701", b"070702"):
                raise _error("no cpio header of the `newc` form", at)
            try:
                mode, size, length = (int(head[start : start + 8], 16) for start in (14, 54, 94))
            except ValueError:
                raise _error("a cpio header that is not hexadecimal", at) from None
            name_at = at + 110
            body = name_at + length + -(110 + length) % 4
            after = body + size + -size % 4
            if not 0 < length <= 4096 or body + size > len(data):
                raise _error("a cpio entry that ends behind the archive", at)
            name = data[name_at : name_at + length - 1].decode("utf-8", "surrogateescape")
            at = after
            if name == "TRAILER!!!":
                return at
            target = data[body : body + size] if stat.S_ISLNK(mode) and size <= _MAX_LINK else b""
            self._add(name, mode, size, target.decode("utf-8", "surrogateescape"))

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
        entry = TreeEntry(name=name, kind=kind, size=size if kind is Kind.FILE else 0, target=target)
        self._folders.setdefault(folder, {})[name] = entry


def _error(what: str, offset: int | None) -> FormatError:
    return FormatError(f"initrd: {what}", offset, code=CODE)
