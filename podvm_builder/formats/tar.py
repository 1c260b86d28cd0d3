"""tar archives as a stream: POSIX.1-2001 (ustar and pax) and GNU tar's long names and numbers.

Not the standard library's ``tarfile``: it reads a pax header of any size into memory, follows sparse maps of any
length, has had loops without end on crafted sizes, takes what it cannot read for the archive's end, and raises a dozen
kinds of errors. What goes into a trust boundary is read by the strict half of the format; the rest is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from podvm_builder.errors import FormatError

CODE = "PVB720"
UNREAD = "PVB724"

_BLOCK = 512
_PIECE = 1 << 20
_MAX_META = 1 << 20
"""Bytes of one extended header; a path has at most 4096."""
_MAX_SIZE = 1 << 50


class MemberKind(StrEnum):
    """What a member is."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symbolic link"
    HARDLINK = "hard link"
    CHAR = "character device"
    BLOCK = "block device"
    FIFO = "FIFO"


_KINDS = {
    b"0": MemberKind.FILE,
    b"\0": MemberKind.FILE,
    b"7": MemberKind.FILE,  # "contiguous", which nothing makes different any more
    b"1": MemberKind.HARDLINK,
    b"2": MemberKind.SYMLINK,
    b"3": MemberKind.CHAR,
    b"4": MemberKind.BLOCK,
    b"5": MemberKind.FOLDER,
    b"6": MemberKind.FIFO,
}
_UNREAD = {
    b"S": "a sparse file",
    b"D": "an incremental backup",
    b"M": "a part of another volume",
    b"V": "a volume's name",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One entry of an archive, as its header has it."""

    number: int
    """From 0, in the archive's order."""
    name: str
    kind: MemberKind
    mode: int
    """Permission bits, set-user-ID and its like among them."""
    size: int = 0
    """Bytes of content; 0 of what is no file."""
    target: str = ""
    """Of a link."""


class _Source:
    """Bytes that come in pieces of any size, taken in pieces of another."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")
        self.at = 0

    def some(self, most: int) -> memoryview:
        """Return up to ``most`` bytes; none at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return memoryview(b"")
            self._rest = memoryview(piece)
        taken, self._rest = self._rest[:most], self._rest[most:]
        self.at += len(taken)
        return taken

    def exactly(self, count: int) -> Iterator[memoryview]:
        """Yield so many bytes; FormatError where the archive ends before."""
        while count:
            piece = self.some(min(count, _PIECE))
            if not piece:
                raise FormatError("tar archive: it ends too early", self.at, code=CODE)
            count -= len(piece)
            yield piece

    def block(self) -> bytes:
        return b"".join(self.exactly(_BLOCK))


def read_tar(pieces: Iterable[bytes]) -> Iterator[tuple[Member, Iterator[memoryview]]]:
    """Yield each member and its content; content that is not taken is skipped.

    Args:
        pieces: the archive's bytes, uncompressed.

    Raises:
        FormatError: PVB720, it is damaged or cut off; PVB724, it has something that is not read here.
    """
    source = _Source(pieces)
    number = 0
    extended: dict[str, bytes] = {}
    while True:
        start = source.at
        header = source.block()
        if not any(header):
            break
        _check_sum(header, start)
        kind = header[156:157]
        size = _number(header[124:136], start, "size")
        if kind in (b"x", b"L", b"K", b"g"):
            data = _meta(source, size, start)
            if kind == b"x":
                extended.update(_records(data, start))
            elif kind == b"g":
                _check_global(_records(data, start), start)
            else:
                extended["path" if kind == b"L" else "linkpath"] = data.split(b"\0", 1)[0]
            continue
        member = _member(header, size, extended, number, start)
        extended = {}
        content = source.exactly(member.size)
        yield member, content
        for _ in content:
            pass
        for _ in source.exactly(-member.size % _BLOCK):
            pass
        number += 1
    if extended:
        raise FormatError("tar archive: it ends behind the header of a member", source.at, code=CODE)
    while piece := source.some(_PIECE):
        if any(piece):
            raise FormatError("tar archive: something stands behind its end", source.at, code=CODE)


def _member(header: bytes, size: int, extended: dict[str, bytes], number: int, start: int) -> Member:
    kind = header[156:157]
    if kind in _UNREAD or any(key.startswith("GNU.sparse.") for key in extended):
        what = _UNREAD.get(kind, "a sparse file")
        raise FormatError(f"tar archive: it has {what}, which is not read here", start, code=UNREAD)
    found = _KINDS.get(kind)
    if found is None:
        raise FormatError(f"tar archive: a member of type {kind!r}, which is not read here", start, code=UNREAD)
    name = extended.get("path") or _own_name(header)
    if "size" in extended:
        size = _decimal(extended["size"], start)
    if found is MemberKind.FILE and name.endswith(b"/"):
        found = MemberKind.FOLDER  # as archives older than POSIX.1-1988 have them
    if found not in (MemberKind.FILE, MemberKind.HARDLINK) and size:
        raise FormatError(f"tar archive: a {found} with content", start, code=CODE)
    if found is MemberKind.HARDLINK and size:
        raise FormatError("tar archive: it has a hard link with content, which is not read here", start, code=UNREAD)
    link = extended.get("linkpath") or header[157:257].split(b"\0", 1)[0]
    if b"\0" in name or b"\0" in link:
        raise FormatError("tar archive: a name with a NUL in it", start, code=CODE)
    return Member(
        number=number,
        name=_text(name),
        kind=found,
        mode=_number(header[100:108], start, "mode") & 0o7777,
        size=size,
        target=_text(link) if found in (MemberKind.SYMLINK, MemberKind.HARDLINK) else "",
    )


def _own_name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0]
    # GNU's own format has times where POSIX has the prefix
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _check_sum(header: bytes, start: int) -> None:
    """Compare the header's sum: of bytes that are unsigned, or, as some old programs had it, signed."""
    told = _number(header[148:156], start, "sum")
    plain = header[:148] + b" " * 8 + header[156:]
    total = sum(plain)
    if told not in (total, total - 256 * sum(byte > 127 for byte in plain)):
        raise FormatError("tar archive: a header whose sum is wrong", start, code=CODE)


def _number(field: bytes, start: int, what: str) -> int:
    """Read a number: octal digits, or GNU's binary form, whose first bit is set."""
    if field[0] == 0x80:
        value = int.from_bytes(field[1:], "big")
    else:
        text = field.rstrip(b" \0").lstrip(b" ")
        if re.fullmatch(rb"[0-7]*", text) is None:
            raise FormatError(f"tar archive: a header whose {what} is no number", start, code=CODE)
        value = int(text or b"0", 8)
    if value > _MAX_SIZE:
        raise FormatError(f"tar archive: a header with a {what} of {value}", start, code=CODE)
    return value


def _decimal(data: bytes, start: int) -> int:
    if re.fullmatch(rb"[0-9]{1,16}", data) is None or int(data) > _MAX_SIZE:
        raise FormatError("tar archive: an extended header whose size is no number", start, code=CODE)
    return int(data)


def _meta(source: _Source, size: int, start: int) -> bytes:
    if size > _MAX_META:
        raise FormatError(f"tar archive: an extended header of {size} bytes", start, code=CODE)
    data = b"".join(source.exactly(size))
    for _ in source.exactly(-size % _BLOCK):
        pass
    return data


def _records(data: bytes, start: int) -> dict[str, bytes]:
    """Read the records of a pax header: each ``length key=value`` and a newline, its length counting itself."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        match = re.compile(rb"([0-9]{1,7}) ([^=\n]+)=").match(data, at)
        end = at + int(match[1]) if match is not None else 0
        if match is None or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise FormatError("tar archive: an extended header that is none", start, code=CODE)
        found[_text(match[2])] = data[match.end() : end - 1]
        at = end
    return found


def _check_global(records: dict[str, bytes], start: int) -> None:
    """Refuse a header for all members that changes what they are; comments and times are of no account here."""
    for key in records:
        if key in ("path", "linkpath", "size") or key.startswith("GNU.sparse."):
            raise FormatError(f"tar archive: a header for all members with `{key}`", start, code=UNREAD)
