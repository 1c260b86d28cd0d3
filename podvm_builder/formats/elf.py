"""ELF: what a program is for, and what it needs of the system that runs it.

Source: System V Application Binary Interface, "Object Files" and "Program Loading and Dynamic Linking" (gABI 4.1). Only
program headers are read, as a loader does: section headers may be stripped. Addresses of the dynamic section are turned
into offsets by the loadable segments.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from podvm_builder.errors import FormatError

CODE = "PVB744"
MAGIC = b"\x7fELF"

MACHINES = {"x86_64": 62, "aarch64": 183, "s390x": 22, "ppc64le": 21}
"""``e_machine`` by the name that ``uname -m`` has for it; all are 64-bit here."""

_BIG_ENDIAN = frozenset({"s390x"})
_EXEC, _DYN = 2, 3
_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_NULL, _NEEDED, _STRTAB, _STRSZ, _RPATH, _RUNPATH = 0, 1, 5, 10, 15, 29
_MAX_HEADERS = 256
"""Program headers that are credible; large programs have some dozen."""
_MAX_ENTRIES = 4096
"""Entries of a dynamic section that are credible."""
_MAX_NAME = 4096
"""Bytes of a name: PATH_MAX."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elf:
    """A program's headers."""

    arch: str
    """As ``uname -m`` says it; ``e_machine`` and the word size where the machine is another."""
    dynamic: bool
    """Whether a dynamic linker completes it when it starts."""
    interpreter: str | None
    """Path of the dynamic linker; None for a static program."""
    needed: tuple[str, ...]
    """Names of the shared libraries that it is linked with."""
    runpath: tuple[str, ...]
    """Folders of its own to look for them in, ``$ORIGIN`` as it stands; RPATH where there is no RUNPATH."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """A program header."""

    kind: int
    offset: int
    address: int
    size: int
    """Bytes in the file."""


def parse_elf(data: bytes) -> Elf:
    """Read a program's headers.

    Raises:
        FormatError: PVB744, it is no ELF program, or its headers point beyond its end.
    """
    if not data.startswith(MAGIC):
        raise FormatError("ELF: it does not begin with the magic number", 0, code=CODE)
    if len(data) < 64:
        raise FormatError("ELF: it ends within its header", len(data), code=CODE)
    wide, order = data[4] == 2, {1: "<", 2: ">"}.get(data[5])
    if data[4] not in (1, 2) or order is None:
        raise FormatError(f"ELF: class {data[4]} and data encoding {data[5]} are not known", 4, code=CODE)
    kind, machine = struct.unpack_from(f"{order}HH", data, 16)
    if kind not in (_EXEC, _DYN):
        raise FormatError(f"ELF: type {kind} is no program", 16, code=CODE)
    segments = tuple(_segments(data, order, wide=wide))
    interpreter = next((_slice(data, one, "interpreter") for one in segments if one.kind == _INTERP), None)
    dynamic = next((one for one in segments if one.kind == _DYNAMIC), None)
    needed, runpath = ((), ()) if dynamic is None else _dynamic(data, dynamic, segments, order, wide=wide)
    return Elf(
        arch=_arch(machine, order, wide=wide),
        dynamic=interpreter is not None or bool(needed),
        interpreter=None if interpreter is None else _text(interpreter, 0, "interpreter"),
        needed=needed,
        runpath=runpath,
    )


def _arch(machine: int, order: str, *, wide: bool) -> str:
    for name, number in MACHINES.items():
        if number == machine and wide and (order == ">") == (name in _BIG_ENDIAN):
            return name
    return f"machine {machine}, {64 if wide else 32}-bit {'little' if order == '<' else 'big'}-endian"


def _segments(data: bytes, order: str, *, wide: bool) -> Iterator[_Segment]:
    if wide:
        (start,) = struct.unpack_from(f"{order}Q", data, 32)
        size, count = struct.unpack_from(f"{order}HH", data, 54)
    else:
        (start,) = struct.unpack_from(f"{order}I", data, 28)
        size, count = struct.unpack_from(f"{order}HH", data, 42)
    least = 56 if wide else 32
    if count > _MAX_HEADERS or (count and size < least) or start + size * count > len(data):
        raise FormatError(f"ELF: {count} program headers of {size} bytes do not fit", start, code=CODE)
    for index in range(count):
        at = start + index * size
        if wide:
            kind, _, offset, address, _, filled = struct.unpack_from(f"{order}IIQQQQ", data, at)
        else:
            kind, offset, address, _, filled = struct.unpack_from(f"{order}IIIII", data, at)
        yield _Segment(kind, offset, address, filled)


def _dynamic(
    data: bytes, section: _Segment, segments: tuple[_Segment, ...], order: str, *, wide: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of needed libraries, and the folders to look for them in."""
    entry = f"{order}qQ" if wide else f"{order}iI"
    table = _slice(data, section, "dynamic section")
    rows: list[tuple[int, int]] = []
    for tag, value in struct.iter_unpack(entry, table[: len(table) // struct.calcsize(entry) * struct.calcsize(entry)]):
        if tag == _NULL or len(rows) >= _MAX_ENTRIES:
            break
        rows.append((tag, value))
    single = dict(rows)
    names = [value for tag, value in rows if tag == _NEEDED]
    paths = single.get(_RUNPATH, single.get(_RPATH))
    if not names and paths is None:
        return (), ()
    strings = _strings(data, single, segments)
    runpath = "" if paths is None else _text(strings, paths, "RUNPATH")
    needed = tuple(_text(strings, name, "needed library") for name in names)
    return needed, tuple(path for path in runpath.split(":") if path)


def _strings(data: bytes, single: dict[int, int], segments: tuple[_Segment, ...]) -> bytes:
    address, size = single.get(_STRTAB), single.get(_STRSZ)
    if address is None or size is None:
        raise FormatError("ELF: the dynamic section names libraries but no string table", code=CODE)
    for one in segments:
        if one.kind == _LOAD and one.address <= address and address + size <= one.address + one.size:
            return _slice(data, _Segment(_LOAD, one.offset + address - one.address, address, size), "string table")
    raise FormatError(f"ELF: the string table at {address:#x} is not loaded", code=CODE)


def _slice(data: bytes, segment: _Segment, what: str) -> bytes:
    if segment.offset + segment.size > len(data):
        raise FormatError(f"ELF: the {what} lies beyond the end", segment.offset, code=CODE)
    return data[segment.offset : segment.offset + segment.size]


def _text(table: bytes, offset: int, what: str) -> str:
    end = table.find(b"\0", offset, offset + _MAX_NAME)
    if offset >= len(table) or end < 0:
        raise FormatError(f"ELF: the name of the {what} does not end", code=CODE)
    try:
        return table[offset:end].decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"ELF: the name of the {what} is no text", code=CODE) from None
