"""The TD HOB: the list of memory ranges with which QEMU hands a trust domain its memory map.

Specifications: UEFI Platform Initialization 1.8 vol. 3 §5 (PHIT and resource descriptor HOBs); TDX Virtual Firmware
Design Guide §4.2; the order and the splitting are QEMU's (``hw/i386/tdvf-hob.c``, ``target/i386/kvm/tdx.c``).
Little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.ovmf import FOUR_GIB
from podvm_builder.formats.tdvf import TdxSection, TdxType

CODE = "PVB214"
MAX_MEMORY = 1 << 46
"""Bytes; 64 TiB, more than any host has, and below what its physical addresses reach."""
MEMORY_UNIT = 8192
"""QEMU rounds a size that is no multiple of this up; no such size is taken here, so that none is changed silently."""

_LOWMEM = 0x8000_0000
"""What stays below 4 GiB on a q35 machine that has more than fits there..."""
_LOWMEM_LIMIT = 0xB000_0000
"""...which is from this size on (``hw/i386/pc_q35.c``)."""
_PHIT = struct.Struct("<HHIIIQQQQQ")
_RESOURCE = struct.Struct("<HHI16sIIQQ")
_PHIT_TYPE, _RESOURCE_TYPE = 1, 3
_HOB_VERSION = 9
_SYSTEM_MEMORY, _UNACCEPTED = 0, 7
_TESTED = 7
"""Attributes: present, initialised, tested."""
_END_SIZE = 8


class MemoryRange(NamedTuple):
    """A run of guest memory."""

    start: int
    length: int
    accepted: bool
    """Added before the start, and so usable without being accepted."""


def q35_memory(size: int) -> tuple[tuple[int, int], ...]:
    """Return the (start, length) ranges of RAM of a q35 machine without ``max-ram-below-4g``.

    Raises:
        InputError: no size that QEMU takes as it is.
    """
    if not 0 < size <= MAX_MEMORY or size % MEMORY_UNIT:
        raise InputError(
            f"a guest cannot have {size} bytes of memory: a multiple of {MEMORY_UNIT} up to 64 TiB",
            code=CODE,
            hint="write it as QEMU's -m takes it, e.g. 2048M or 16G",
        )
    if size < _LOWMEM_LIMIT:
        return ((0, size),)
    return ((0, _LOWMEM), (FOUR_GIB, size - _LOWMEM))


def memory_map(sections: Sequence[TdxSection], size: int) -> tuple[MemoryRange, ...]:
    """Return guest memory, ascending, cut where the firmware's temporary memory and TD HOB lie; nothing is merged.

    Raises:
        InputError: PVB214, a size that QEMU does not take, or too little for the firmware.
    """
    ranges = [MemoryRange(start, length, False) for start, length in q35_memory(size)]
    for section in sections:
        if section.kind not in (TdxType.TD_HOB, TdxType.TEMP_MEM) or not section.size:
            continue
        end = section.gpa + section.size
        for index, (start, length, accepted) in enumerate(ranges):
            if not accepted and start <= section.gpa and end <= start + length:
                parts = (
                    MemoryRange(start, section.gpa - start, False),
                    MemoryRange(section.gpa, section.size, True),
                    MemoryRange(end, start + length - end, False),
                )
                ranges[index : index + 1] = [part for part in parts if part.length]
                break
        else:
            raise InputError(
                f"{size >> 20} MiB of memory end before the firmware's {section.kind.name} section at {section.gpa:#x}",
                code=CODE,
            )
    return tuple(ranges)


def td_hob(sections: Sequence[TdxSection], size: int) -> bytes:
    """Return the list that OVMF measures: all of it but the 8 bytes that end it.

    Args:
        sections: of the firmware's TDX metadata.
        size: bytes of guest memory.

    Raises:
        InputError: PVB214, a size that QEMU does not take, or too little for the firmware.
        FormatError: PVB225, the list does not fit the section that the firmware reserves for it.
    """
    ranges = memory_map(sections, size)
    place = next(section for section in sections if section.kind is TdxType.TD_HOB)
    total = _PHIT.size + len(ranges) * _RESOURCE.size + _END_SIZE
    if total > place.size:
        raise FormatError(
            f"firmware: a TD HOB of {total} bytes does not fit its section of {place.size}", code="PVB225"
        )
    head = _PHIT.pack(_PHIT_TYPE, _PHIT.size, 0, _HOB_VERSION, 0, 0, 0, 0, 0, place.gpa + total)
    return head + b"".join(
        _RESOURCE.pack(
            _RESOURCE_TYPE,
            _RESOURCE.size,
            0,
            bytes(16),
            _SYSTEM_MEMORY if range_.accepted else _UNACCEPTED,
            _TESTED,
            range_.start,
            range_.length,
        )
        for range_ in ranges
    )
