"""GUID partition tables, read as firmware reads them.

Specification: UEFI 2.10 §5.3. The primary table at the second sector is the one that edk2 measures; it must be whole
(both CRCs), because firmware replaces a damaged one by the backup and would then measure that. Little-endian.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass

from podvm_builder.errors import FormatError
from podvm_builder.formats.readers import ExtentReader, window
from podvm_builder.model.reader import BinaryReader

CODE = "PVB242"
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
"""Type of an EFI system partition."""

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_MAX_ENTRIES = 1024
_MAX_ENTRY_SIZE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One used entry."""

    number: int
    """1-based position in the table."""
    type: uuid.UUID
    id: uuid.UUID
    offset: int
    """Bytes from the start of the disk."""
    size: int
    """Bytes."""
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpt:
    """The primary table."""

    sector: int
    """Bytes of a sector."""
    disk_id: uuid.UUID
    header: bytes
    """The 92 bytes of the header, as on disk."""
    entries: tuple[bytes, ...]
    """The used entries as on disk, in the order of the table."""
    partitions: tuple[Partition, ...]
    """The same entries, read."""


def parse_gpt(reader: BinaryReader) -> Gpt:
    """Read the primary table of a disk image with sectors of 512 or 4096 bytes.

    Raises:
        FormatError: no table, a wrong CRC, absurd sizes, or partitions that overlap or lie outside the image.
    """
    for sector in (512, 4096):
        if reader.size >= sector + 92 and reader.read_at(sector, 8) == b"EFI PART":
            return _parse(reader, sector)
    raise FormatError("disk image: no GUID partition table", 512, code=CODE)


def esp(reader: BinaryReader, gpt: Gpt) -> ExtentReader:
    """Return the EFI system partition's bytes.

    Raises:
        FormatError: there is none, or more than one, so that it is the firmware's choice what is booted.
    """
    found = [partition for partition in gpt.partitions if partition.type == ESP]
    if len(found) != 1:
        raise FormatError(f"disk image: {len(found)} EFI system partitions where one is needed", code=CODE)
    return window(reader, found[0].offset, found[0].size)


def measured_data(gpt: Gpt) -> bytes:
    """Return the data of the EV_EFI_GPT_EVENT that edk2 measures into PCR 5 (``UEFI_GPT_DATA``).

    The header, a u64 count of used entries, and those entries. TCG PC Client Platform Firmware Profile 1.06 §10.2.6.
    """
    return gpt.header + struct.pack("<Q", len(gpt.entries)) + b"".join(gpt.entries)


def _parse(reader: BinaryReader, sector: int) -> Gpt:
    header = reader.read_at(sector, 92)
    (_, _, header_size, header_crc, _, my_lba, _, first, last, disk, table_lba, count, entry_size, table_crc) = (
        _HEADER.unpack(header)
    )
    if not 92 <= header_size <= sector or sector + header_size > reader.size:
        raise _error(f"header size {header_size}", sector + 12)
    whole = reader.read_at(sector, header_size)
    if zlib.crc32(whole[:16] + bytes(4) + whole[20:]) != header_crc:
        raise _error("the header's CRC is wrong", sector + 16)
    if my_lba != 1:
        raise _error(f"the primary header says that it is at sector {my_lba}", sector + 24)
    if not 0 < count <= _MAX_ENTRIES or not 128 <= entry_size <= _MAX_ENTRY_SIZE or entry_size % 128:
        raise _error(f"{count} entries of {entry_size} bytes", sector + 80)
    offset = table_lba * sector
    if table_lba < 2 or offset + count * entry_size > reader.size:
        raise _error("the table of entries lies outside the image", sector + 72)
    table = reader.read_at(offset, count * entry_size)
    if zlib.crc32(table) != table_crc:
        raise _error("the CRC of the entries is wrong", sector + 88)
    entries = [(i + 1, table[i * entry_size : (i + 1) * entry_size]) for i in range(count)]
    used = [(number, entry) for number, entry in entries if any(entry[:16])]
    partitions = tuple(_partition(number, entry, sector, (first, last)) for number, entry in used)
    _check(partitions, offset, reader.size, entry_size)
    return Gpt(
        sector=sector,
        disk_id=uuid.UUID(bytes_le=disk),
        header=header,
        entries=tuple(entry for _, entry in used),
        partitions=partitions,
    )


def _partition(number: int, entry: bytes, sector: int, usable: tuple[int, int]) -> Partition:
    first, last = struct.unpack_from("<QQ", entry, 32)
    if not usable[0] <= first <= last <= usable[1]:
        raise _error(f"partition {number} goes from sector {first} to {last}, outside the usable ones", None)
    return Partition(
        number=number,
        type=uuid.UUID(bytes_le=entry[:16]),
        id=uuid.UUID(bytes_le=entry[16:32]),
        offset=first * sector,
        size=(last - first + 1) * sector,
        name=entry[56:128].decode("utf-16-le", "replace").split("\0")[0],
    )


def _check(partitions: tuple[Partition, ...], table: int, size: int, entry_size: int) -> None:
    end = table + entry_size
    for partition in sorted(partitions, key=lambda partition: partition.offset):
        if partition.offset < end:
            raise _error(f"partition {partition.number} overlaps what stands before it", partition.offset)
        end = partition.offset + partition.size
        if end > size:
            raise _error(f"partition {partition.number} ends behind the end of the image", partition.offset)


def _error(what: str, offset: int | None) -> FormatError:
    return FormatError(f"partition table: {what}", offset, code=CODE)
