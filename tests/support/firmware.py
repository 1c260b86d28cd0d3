"""OVMF-like images made from nothing: a table, SEV and TDX metadata, content that repeats as firmware does."""

from __future__ import annotations

import random
import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FOOTER = "96b582de-1fb2-45f7-baea-a366c55a082d"
RESET = "00f771de-1a7e-4fcb-890e-68c77e2fb44e"
SECRET = "4c2eb361-7d9b-4cc3-8081-127c90d3d294"  # noqa: S105 - a GUID
HASH_TABLE = "7255371f-3a3b-4b04-927b-1da6efa8d454"
SEV = "dc886566-984a-4798-a75e-5585a7bf67cc"
TDX = "e47a6535-984a-4798-865e-4685a7bf8ec2"
SVSM_INFO = "a789a612-0597-4c4b-a49f-cbb1fe9d1ddd"
TDX_GUID = "f3f9eae9-168e-44d5-a8eb-7f4d8738f6ae"

MEMORY, SECRETS, CPUID, SVSM_CAA, KERNEL_HASHES = 1, 2, 3, 4, 0x10
BFV, CFV, TD_HOB, TEMP_MEM = range(4)

AMDSEV_SECTIONS: tuple[tuple[int, int, int], ...] = (
    (0x800000, 0x9000, MEMORY),
    (0x80A000, 0x3000, MEMORY),
    (0x80D000, 0x1000, SECRETS),
    (0x80E000, 0x1000, CPUID),
    (0x80F000, 0x1000, SVSM_CAA),
    (0x811000, 0xF000, MEMORY),
    (0x810000, 0x1000, KERNEL_HASHES),
)
"""Sections (address, size, type) as a recent OVMF.amdsev.fd has them: kernel hashes last."""


@dataclass(frozen=True, kw_only=True)
class Firmware:
    """What an image is to hold; None leaves an entry out."""

    size: int = 4 << 20
    seed: int = 1
    unique_pages: int = 182
    """How many different random pages; the rest are 0xff and zero pages, as in a real build."""
    reset: int | None = 0x0080B004
    hash_table: tuple[int, int] | None = (0x810C00, 0x400)
    sev: Sequence[tuple[int, int, int]] | None = AMDSEV_SECTIONS
    sev_header: Mapping[str, int | bytes] = field(default_factory=dict)
    """Overrides of ``signature``, ``length``, ``version``, ``count``."""
    tdx: Sequence[tuple[int, int, int, int, int, int]] | None = None
    """Sections (data offset, data size, address, memory size, type, attributes); None: those of OVMF."""
    tdx_header: Mapping[str, int | bytes] = field(default_factory=dict)
    with_tdx: bool = True
    extra: Sequence[tuple[str, bytes]] = ()
    """Further entries of the table."""

    def build(self) -> bytes:
        """Return the image."""
        image = bytearray(self._content())
        top = self.size - 512  # metadata stands below the table, as in a real image
        entries: list[tuple[str, bytes]] = []
        if self.reset is not None:
            entries.append((RESET, struct.pack("<I", self.reset)))
        entries.append((SECRET, struct.pack("<II", 0x810000, 0xC00)))
        if self.hash_table is not None:
            entries.append((HASH_TABLE, struct.pack("<II", *self.hash_table)))
        if self.sev is not None:
            data = b"".join(struct.pack("<III", *section) for section in self.sev)
            data = self._header(b"ASEV", data, len(self.sev), self.sev_header) + data
            top -= len(data)
            image[top : top + len(data)] = data
            entries.append((SEV, struct.pack("<I", self.size - top)))
        if self.with_tdx:
            sections = self.tdx if self.tdx is not None else ovmf_tdx_sections(self.size)
            data = b"".join(struct.pack("<IIQQII", *section) for section in sections)
            data = self._header(b"TDVF", data, len(sections), self.tdx_header) + data
            top -= len(data)
            image[top : top + len(data)] = data
            image[top - 16 : top] = uuid.UUID(TDX_GUID).bytes_le
            entries.append((TDX, struct.pack("<I", self.size - top)))
        table = guided_table([*entries, *self.extra])
        image[self.size - 32 - len(table) : self.size - 32] = table
        return bytes(image)

    def _content(self) -> bytes:
        source = random.Random(self.seed)
        pages = self.size // 4096
        unique = min(self.unique_pages, pages)
        code = b"".join(source.randbytes(4096) for _ in range(unique))
        return (b"\xff" * 4096 * ((pages - unique) // 2)) + bytes(4096 * ((pages - unique + 1) // 2)) + code

    @staticmethod
    def _header(signature: bytes, data: bytes, count: int, overrides: Mapping[str, int | bytes]) -> bytes:
        values: dict[str, int | bytes] = {
            "signature": signature,
            "length": 16 + len(data),
            "version": 1,
            "count": count,
            **overrides,
        }
        return struct.pack("<4sIII", values["signature"], values["length"], values["version"], values["count"])


def ovmf_tdx_sections(size: int) -> tuple[tuple[int, int, int, int, int, int], ...]:
    """Return sections as OVMF has them: code measured, variables and memory only added."""
    variables = size // 8 & ~0xFFF
    base = (1 << 32) - size
    return (
        (variables, size - variables, base + variables, size - variables, BFV, 1),
        (0, variables, base, variables, CFV, 0),
        (0, 0, 0x810000, 0x10000, TEMP_MEM, 0),
        (0, 0, 0x80B000, 0x2000, TEMP_MEM, 0),
        (0, 0, 0x809000, 0x2000, TD_HOB, 0),
        (0, 0, 0x800000, 0x6000, TEMP_MEM, 0),
    )


def guided_table(entries: Sequence[tuple[str, bytes]], *, length: int | None = None) -> bytes:
    """Return the table as it stands in the image: the first entry on top, below the footer."""
    body = b"".join(
        data + struct.pack("<H", len(data) + 18) + uuid.UUID(guid).bytes_le for guid, data in reversed(entries)
    )
    total = len(body) + 18 if length is None else length
    return body + struct.pack("<H", total) + uuid.UUID(FOOTER).bytes_le
