"""Disk images built from scratch: a GPT, and a FAT file system with long names."""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Mapping

SECTOR = 512
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
ROOT = uuid.UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")


def build_disk(
    partitions: list[tuple[uuid.UUID, bytes]],
    *,
    sector: int = SECTOR,
    entry_size: int = 128,
    gap: int = 0,
    ids: Mapping[uuid.UUID, uuid.UUID] | None = None,
) -> bytes:
    """Return a disk with a protective MBR's place left empty, a primary GPT, and the partitions one after the other.

    Args:
        partitions: type and content of each, in order.
        sector: bytes of a sector.
        entry_size: bytes of a table entry.
        gap: unused entries before the first used one.
        ids: of partitions by their type, where they are not to be counted.
    """
    table_sectors = -(-128 * entry_size // sector)
    at = 2 + table_sectors
    entries = bytearray(128 * entry_size)
    content = bytearray()
    for number, (kind, data) in enumerate(partitions):
        sectors = -(-len(data) // sector)
        own = (ids or {}).get(kind, uuid.UUID(int=number + 1))
        entry = kind.bytes_le + own.bytes_le + struct.pack("<QQQ", at, at + sectors - 1, 0)
        entry += f"part{number}".encode("utf-16-le")
        start = (gap + number) * entry_size
        entries[start : start + len(entry)] = entry
        content += data + bytes(sectors * sector - len(data))
        at += sectors
    header = struct.pack(
        "<8sIIIIQQQQ16sQIII",
        b"EFI PART", 0x10000, 92, 0, 0, 1, at, 2 + table_sectors, at - 1,
        uuid.UUID(int=0xD15C).bytes_le, 2, 128, entry_size, zlib.crc32(entries),
    )  # fmt: skip
    header = header[:16] + struct.pack("<I", zlib.crc32(header)) + header[20:]
    disk = bytes(sector) + header + bytes(sector - 92) + entries
    return disk + bytes((2 + table_sectors) * sector - len(disk)) + bytes(content) + bytes(sector)


def build_fat(files: Mapping[str, bytes], *, bits: int = 16, cluster: int = 1, scatter: bool = False) -> bytes:
    """Return a FAT file system with the files, their folders made, every name stored as a long name, too.

    Args:
        files: content by path, with ``/``.
        bits: 12, 16 or 32; decides the number of clusters.
        cluster: sectors of a cluster.
        scatter: files take every second cluster first, so that their chains are not in one piece.
    """
    clusters = {12: 2000, 16: 8000, 32: 66000}[bits]
    fat_sectors = -(-(clusters + 2) * bits // 8 // SECTOR) + 1
    reserved = 32 if bits == 32 else 1
    roots = 0 if bits == 32 else 512
    data_start = reserved + 2 * fat_sectors + roots * 32 // SECTOR
    disk = bytearray((data_start + clusters * cluster) * SECTOR)
    boot = bytearray(512)
    total = data_start + clusters * cluster
    struct.pack_into(
        "<HBHBHHBH", boot, 11, SECTOR, cluster, reserved, 2, roots, 0, 0xF8, 0 if bits == 32 else fat_sectors
    )
    struct.pack_into("<II", boot, 32, total, fat_sectors if bits == 32 else 0)
    boot[510:] = b"\x55\xaa"
    order = list(range(2, clusters + 2))
    if scatter:
        order = order[1::2] + order[::2]
    free = iter(order)
    fat = [0xFFFFFFF, 0xFFFFFFF] + [0] * clusters
    size = cluster * SECTOR

    def store(data: bytes) -> int:
        chain = [next(free) for _ in range(-(-len(data) // size))]
        for number, place in enumerate(chain):
            fat[place] = chain[number + 1] if number + 1 < len(chain) else 0xFFFFFFF
            at = (data_start + (place - 2) * cluster) * SECTOR
            piece = data[number * size : (number + 1) * size]
            disk[at : at + len(piece)] = piece
        return chain[0] if chain else 0

    def folder(prefix: str) -> bytes:
        entries = b""
        names = dict.fromkeys(path[len(prefix) :].split("/")[0] for path in files if path.startswith(prefix))
        for number, name in enumerate(names):
            path = prefix + name
            if path in files:
                entries += _entry(name, number, 0x20, store(files[path]), len(files[path]))
            else:
                entries += _entry(name, number, 0x10, store(folder(path + "/")), 0)
        return entries or bytes(32)

    root = b"EFIBOOT    " + b"\x08" + bytes(20) + folder("")
    if bits == 32:
        struct.pack_into("<I", boot, 44, store(root))
    else:
        at = (reserved + 2 * fat_sectors) * SECTOR
        disk[at : at + len(root)] = root
    disk[:512] = boot
    table = _pack_fat(fat, bits)
    for copy in range(2):
        at = (reserved + copy * fat_sectors) * SECTOR
        disk[at : at + len(table)] = table
    return bytes(disk)


def _pack_fat(fat: list[int], bits: int) -> bytes:
    if bits != 12:
        width = bits // 8
        return b"".join((value & (1 << bits) - 1).to_bytes(width, "little") for value in fat)
    packed = 0
    for number, value in enumerate(fat):
        packed |= (value & 0xFFF) << 12 * number
    return packed.to_bytes((12 * len(fat) + 7) // 8, "little")


def _entry(name: str, number: int, attributes: int, cluster: int, size: int) -> bytes:
    short = f"F{number:06d}~".encode().ljust(8)[:8] + b"   "
    checksum = 0
    for byte in short:
        checksum = ((checksum & 1) << 7) + (checksum >> 1) + byte & 0xFF
    units = name.encode("utf-16-le") + b"\0\0"
    units += b"\xff" * (-len(units) % 26)
    parts = [units[at : at + 26] for at in range(0, len(units), 26)]
    entries = b""
    for order in range(len(parts), 0, -1):
        part = parts[order - 1]
        last = 0x40 if order == len(parts) else 0
        entries += bytes([order | last]) + part[:10] + bytes([0x0F, 0, checksum]) + part[10:22] + b"\0\0" + part[22:]
    entry = short + bytes([attributes]) + bytes(8) + struct.pack("<H4xHI", cluster >> 16, cluster & 0xFFFF, size)
    return entries + entry
