"""SMBIOS structure tables, reduced to what firmware measures of them.

Specifications: DMTF DSP0134 §6.1 (structures: type, length, handle, formatted area, strings, two zeros). What is left
out of the measurement because it differs by machine is edk2's choice (``SmbiosMeasurementDxe``, since
edk2-stable202411): texts become blanks and their number zero, other fields zero, and of some types all but the header.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from podvm_builder.errors import FormatError

CODE = "PVB212"
MAX_TABLE = 1 << 20
"""Bytes; the largest real tables have some 10 KiB."""

END_OF_TABLE = 127
_OEM = 128
_HEADER = 4

_TEXTS: Mapping[int, tuple[int, ...]] = {
    1: (0x07,),
    2: (0x07, 0x0A),
    3: (0x07, 0x08),
    4: (0x20, 0x21, 0x22),
    17: (0x18, 0x19, 0x1A),
    22: (0x07,),
    39: (0x08, 0x09, 0x0A),
}
"""Fields that hold the number of a text: serial numbers, tags, places."""
_NUMBERS: Mapping[int, tuple[tuple[int, int], ...]] = {
    1: ((0x08, 16), (0x18, 1)),
    4: ((0x23, 1), (0x24, 1), (0x25, 1), (0x2A, 2), (0x2C, 2), (0x2E, 2), (0x11, 1), (0x16, 2)),
    22: ((0x10, 2), (0x12, 2)),
    23: ((0x07, 2),),
    27: ((0x14, 2),),
}
"""Offset and size of other fields: identifiers, counts, speeds."""
_HEADER_ALONE = (11, 15, 18, 31, 33)


def measured_table(table: bytes) -> bytes:
    """Return what edk2 hashes of a structure table, up to and with its last structure.

    Raises:
        FormatError: a structure that leaves the table, a text's number without such a text, or no end of the table.
    """
    if len(table) > MAX_TABLE:
        raise FormatError(f"SMBIOS: {len(table)} bytes; at most {MAX_TABLE} are credible", code=CODE)
    measured = bytearray(table)
    for start, strings, end in _structures(table):
        kind, length = table[start], table[start + 1]
        if kind >= _OEM or kind in _HEADER_ALONE:
            measured[start + _HEADER : end] = bytes(end - start - _HEADER)
            continue
        for offset in _TEXTS.get(kind, ()):
            if offset < length:
                _blank(measured, start + offset, strings, end)
        for offset, size in _NUMBERS.get(kind, ()):
            if offset + size <= length:
                measured[start + offset : start + offset + size] = bytes(size)
        if kind == END_OF_TABLE:
            return bytes(measured[:end])
    raise FormatError("SMBIOS: the table has no end", len(table), code=CODE)


def _structures(table: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield start, start of the strings, and end of each structure."""
    at = 0
    while at + _HEADER <= len(table):
        strings = at + table[at + 1]
        end = table.find(b"\0\0", strings) + 2
        if strings < at + _HEADER or end < 2:
            raise FormatError("SMBIOS: a structure leaves the table", at, code=CODE)
        yield at, strings, end
        at = end


def _blank(measured: bytearray, field: int, strings: int, end: int) -> None:
    number = measured[field]
    if number:
        # two zeros end the strings, the first of them the last string
        texts = bytes(measured[strings : end - 2]).split(b"\0")
        if number > len(texts) or not texts[number - 1]:
            raise FormatError(f"SMBIOS: a structure without its text {number}", field, code=CODE)
        at = strings + sum(len(text) + 1 for text in texts[: number - 1])
        measured[at : at + len(texts[number - 1])] = b" " * len(texts[number - 1])
    measured[field] = 0
