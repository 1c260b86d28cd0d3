"""TDX metadata of OVMF: the descriptor from which a VMM builds a trust domain.

A header ``TDVF``, u32 length, u32 version 1, u32 count, then sections of u32 data offset, u32 data size, u64
address, u64 memory size, u32 type and u32 attributes (TDX Virtual Firmware Design Guide, §11). All integers
are little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from podvm_builder.errors import FormatError
from podvm_builder.formats.ovmf import (
    MAX_SECTIONS,
    TDX_METADATA,
    U32,
    GuestMemory,
    TableEntry,
    metadata_start,
    table_entry,
)

_HEADER = struct.Struct("<4sIII")
_SECTION = struct.Struct("<IIQQII")


class TdxType(IntEnum):
    """What a section of the TDX metadata is for (TDX Virtual Firmware Design Guide, §11)."""

    BFV = 0
    CFV = 1
    TD_HOB = 2
    TEMP_MEM = 3


class TdxAttribute(IntEnum):
    """Bits of a TDX section's attributes."""

    EXTEND = 1
    """The pages' content is measured with MR.EXTEND."""
    AUG = 2
    """The pages are added after the build, and so not measured at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxSection:
    """Guest memory of a trust domain, and the part of the image that fills it."""

    kind: TdxType
    gpa: int
    size: int
    """Bytes of guest memory."""
    data_offset: int
    data_size: int
    """Bytes of the image; zero where the memory starts out as zeros."""
    extended: bool
    """Whether the content is measured, or only the addresses."""


def read_tdx_sections(image: bytes, table: tuple[TableEntry, ...]) -> tuple[TdxSection, ...] | None:
    """Return the sections of the TDVF descriptor in table order, None where the firmware has none.

    The checks are QEMU's (``hw/i386/tdvf.c``), and those without which the result would be ambiguous.

    Raises:
        FormatError: another signature, version or length; fewer than two sections; a type that QEMU does not
            know; not whole pages; past 4 GiB; overlapping; data past the end of the image; data where there
            must be none, or none where there must be.
    """
    entry = table_entry(table, TDX_METADATA, U32.size)
    if entry is None:
        return None
    start = metadata_start(image, entry, _HEADER.size, "TDX", "PVB225")
    signature, length, version, count = _HEADER.unpack_from(image, start)
    if signature != b"TDVF" or version != 1:
        raise FormatError("firmware: TDX metadata without its signature and version 1", start, code="PVB225")
    consistent = length == _HEADER.size + count * _SECTION.size and start + length <= len(image)
    if not 2 <= count <= MAX_SECTIONS or not consistent:
        raise FormatError(f"firmware: TDX metadata says {length} bytes and {count} sections", start + 4, code="PVB225")
    memory = GuestMemory("PVB225")
    sections: list[TdxSection] = []
    for index in range(count):
        at = start + _HEADER.size + index * _SECTION.size
        name = f"TDX section {index}"
        section = _tdx_section(image, at, name)
        memory.take(name, gpa=section.gpa, size=section.size, at=at)
        sections.append(section)
    if sum(section.kind is TdxType.TD_HOB for section in sections) != 1:
        raise FormatError("firmware: TDX metadata has not exactly one TD_HOB section", start, code="PVB225")
    return tuple(sections)


def _tdx_section(image: bytes, at: int, name: str) -> TdxSection:
    data_offset, data_size, gpa, size, kind, attributes = _SECTION.unpack_from(image, at)

    def refuse(what: str) -> FormatError:
        return FormatError(f"firmware: {name} {what}", at, code="PVB225")

    if kind not in TdxType.__members__.values():
        raise refuse(f"has the type {kind}, which QEMU does not load")
    if attributes & ~(TdxAttribute.EXTEND | TdxAttribute.AUG):
        raise refuse(f"has unknown attributes {attributes:#x}")
    if attributes & TdxAttribute.AUG:
        # the specification leaves such pages out of MRTD, QEMU adds them like any other: no one right value
        raise refuse(f"of type {kind} is to be augmented, which only permanent memory can be")
    if data_size > size:
        raise refuse(f"fills {size:#x} bytes of memory with {data_size:#x} bytes")
    if kind in (TdxType.BFV, TdxType.CFV):
        if not data_size:
            raise refuse("is a firmware volume without data")
        # QEMU copies `size` bytes from here, also where the descriptor says that fewer are data
        if data_offset + size > len(image):
            raise refuse("has data past the end of the image")
    elif data_size:
        raise refuse("is plain memory and must have no data")
    return TdxSection(
        kind=TdxType(kind),
        gpa=gpa,
        size=size,
        data_offset=data_offset,
        data_size=data_size,
        extended=bool(attributes & TdxAttribute.EXTEND),
    )
