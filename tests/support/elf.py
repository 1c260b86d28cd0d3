"""ELF programs that do nothing, made byte by byte: headers as a linker writes them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_BASE = 0x400000


def elf_program(
    *,
    machine: int = 62,
    big: bool = False,
    wide: bool = True,
    interpreter: str | None = None,
    needed: Sequence[str] = (),
    runpath: str | None = None,
    rpath: str | None = None,
    kind: int = 3,
    code: bytes = b"",
) -> bytes:
    """Return a program: static without an interpreter and libraries, else dynamic."""
    order = ">" if big else "<"
    strings = b"\0"
    rows: list[tuple[int, int]] = []
    for tag, texts in ((1, needed), (29, [runpath] if runpath else []), (15, [rpath] if rpath else [])):
        for text in texts:
            rows.append((tag, len(strings)))
            strings += text.encode() + b"\0"
    header, entry = (64, 56) if wide else (52, 32)
    segments = 1 + (interpreter is not None) + bool(rows)
    start = header + entry * segments
    interp = interpreter.encode() + b"\0" if interpreter is not None else b""
    table_at = start + len(interp)
    row = f"{order}qQ" if wide else f"{order}iI"
    if rows:
        rows += [(5, _BASE + table_at + (len(rows) + 3) * struct.calcsize(row)), (10, len(strings)), (0, 0)]
    table = b"".join(struct.pack(row, *one) for one in rows)
    body = interp + table + (strings if rows else b"") + code
    total = start + len(body)

    def segment(what: int, offset: int, size: int) -> bytes:
        if wide:
            return struct.pack(f"{order}IIQQQQQQ", what, 5, offset, _BASE + offset, _BASE + offset, size, size, 8)
        return struct.pack(f"{order}IIIIIIII", what, offset, _BASE + offset, _BASE + offset, size, size, 5, 8)

    headers = segment(1, 0, total)
    if interpreter is not None:
        headers += segment(3, start, len(interp))
    if rows:
        headers += segment(2, table_at, len(table))
    ident = b"\x7fELF" + bytes([2 if wide else 1, 2 if big else 1, 1]) + bytes(9)
    if wide:
        rest = struct.pack(
            f"{order}HHIQQQIHHHHHH", kind, machine, 1, _BASE, header, 0, 0, header, entry, segments, 0, 0, 0
        )
    else:
        rest = struct.pack(
            f"{order}HHIIIIIHHHHHH", kind, machine, 1, _BASE, header, 0, 0, header, entry, segments, 0, 0, 0
        )
    return ident + rest + headers + body
