"""SEV metadata of OVMF: guest memory that the VMM prepares at an SNP launch.

A header ``ASEV``, u32 length, u32 version 1, u32 count, then sections of u32 address, u32 size and u32 type
(edk2 ``OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm``). All integers are little-endian.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from podvm_builder.errors import FormatError
from podvm_builder.formats.ovmf import (
    FOUR_GIB,
    MAX_SECTIONS,
    PAGE,
    SEV_METADATA,
    U32,
    GuestMemory,
    TableEntry,
    metadata_start,
    table_entry,
)

_HEADER = struct.Struct("<4sIII")
_SECTION = struct.Struct("<III")


class SevType(IntEnum):
    """What a section of the SEV metadata is for (QEMU ``target/i386/sev.h``)."""

    MEMORY = 1
    SECRETS = 2
    CPUID = 3
    SVSM_CAA = 4
    KERNEL_HASHES = 0x10


_ONE_PAGE = frozenset({SevType.SECRETS, SevType.CPUID})
_SINGLE = _ONE_PAGE | {SevType.KERNEL_HASHES}


class SevSection(NamedTuple):
    """Guest memory that the VMM prepares before launch; ``size`` is in bytes and may be zero."""

    kind: SevType
    gpa: int
    size: int


def read_sev_sections(
    image: bytes, table: tuple[TableEntry, ...], *, end: int = FOUR_GIB
) -> tuple[SevSection, ...] | None:
    """Return the sections of the SEV metadata in table order, None where the image has no such metadata.

    Sections of size zero are kept: they occupy no memory and move no digest.

    Args:
        image: the firmware, or an SVSM, which has metadata of the same form.
        table: its GUIDed table.
        end: the guest address at which the image ends.

    Raises:
        FormatError: the metadata or a section is not where or what it can be: another signature, version or
            length; an unknown type; not whole pages; past 4 GiB; overlapping another or the image.
    """
    entry = table_entry(table, SEV_METADATA, U32.size)
    if entry is None:
        return None
    start = metadata_start(image, entry, _HEADER.size, "SEV", "PVB222")
    signature, length, version, count = _HEADER.unpack_from(image, start)
    if signature != b"ASEV" or version != 1:
        raise FormatError("firmware: SEV metadata without its signature and version 1", start, code="PVB222")
    consistent = length == _HEADER.size + count * _SECTION.size and start + length <= len(image)
    if count > MAX_SECTIONS or not consistent:
        raise FormatError(f"firmware: SEV metadata says {length} bytes and {count} sections", start + 4, code="PVB222")
    memory = GuestMemory("PVB222")
    memory.reserve_image(image, end)
    seen: set[SevType] = set()
    sections: list[SevSection] = []
    for index in range(count):
        at = start + _HEADER.size + index * _SECTION.size
        gpa, size, kind = _SECTION.unpack_from(image, at)
        name = f"SEV section {index}"
        try:
            section = SevSection(kind=SevType(kind), gpa=gpa, size=size)
        except ValueError:
            raise FormatError(f"firmware: {name} has the unknown type {kind:#x}", at, code="PVB222") from None
        sections.append(section)
        if not size:
            continue
        memory.take(name, gpa=gpa, size=size, at=at)
        if section.kind in _ONE_PAGE and size != PAGE:
            raise FormatError(f"firmware: {name} of type {kind:#x} is not one page", at, code="PVB222")
        if section.kind in seen & _SINGLE:
            raise FormatError(f"firmware: {name} is a second one of type {kind:#x}", at, code="PVB222")
        seen.add(section.kind)
    return tuple(sections)
