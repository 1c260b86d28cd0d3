"""A writer of IGVM files for the tests: whatever is asked for, right or wrong."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

SNP_MASK = 1
PLATFORM, POLICY, AREA, PAGE, INSERT, CONTEXT, ID_BLOCK = 0x1, 0x101, 0x301, 0x302, 0x303, 0x304, 0x30B
KVM_VMSA = 0xFFFF_FFFF_F000
OPTIONAL = 1 << 31


def vmsa(cr0: int = 0x31, features: int = 1) -> bytes:
    """Return a VMSA page of which only CR0, SEV_FEATURES and a few other bytes are set."""
    page = bytearray(4096)
    page[0:8] = bytes(range(1, 9))
    struct.pack_into("<Q", page, 0x158, cr0)
    struct.pack_into("<Q", page, 0x3B0, features)
    return bytes(page)


@dataclass(kw_only=True)
class IgvmWriter:
    """A file under construction; headers come in the order of the calls."""

    version: int = 1
    fixed: Mapping[str, int | bytes] = field(default_factory=dict)
    """Overrides of ``magic``, ``start``, ``size``, ``total``, ``checksum``, ``architecture``, ``page_size``."""
    _headers: list[tuple[int, bytes]] = field(default_factory=list)
    _data: list[tuple[int, int, bytes]] = field(default_factory=list)
    """Header index, offset of the field in its payload, bytes."""

    def header(self, kind: int, payload: bytes) -> IgvmWriter:
        self._headers.append((kind, payload))
        return self

    def platform(self, kind: int = 2, mask: int = SNP_MASK) -> IgvmWriter:
        return self.header(PLATFORM, struct.pack("<IBBHQ", mask, 2, kind, 1, 0))

    def policy(self, policy: int = 0x30000, mask: int = SNP_MASK) -> IgvmWriter:
        return self.header(POLICY, struct.pack("<QII", policy, mask, 0))

    def page(
        self, gpa: int, data: bytes | None = None, *, kind: int = 0, flags: int = 0, mask: int = SNP_MASK
    ) -> IgvmWriter:
        if data is not None:
            self._data.append((len(self._headers), 12, data))
        return self.header(PAGE, struct.pack("<QIIIHH", gpa, mask, 0, flags, kind, 0))

    def area(self, size: int, index: int = 0) -> IgvmWriter:
        return self.header(AREA, struct.pack("<QII", size, index, 0))

    def insert(self, gpa: int, index: int = 0, mask: int = SNP_MASK) -> IgvmWriter:
        return self.header(INSERT, struct.pack("<QII", gpa, mask, index))

    def context(self, data: bytes, *, gpa: int = KVM_VMSA, index: int = 0, mask: int = SNP_MASK) -> IgvmWriter:
        self._data.append((len(self._headers), 12, data))
        return self.header(CONTEXT, struct.pack("<QIIHH", gpa, mask, 0, index, 0))

    def id_block(self, digest: bytes, mask: int = SNP_MASK) -> IgvmWriter:
        fields = struct.pack("<IB3x48s16s16sIIII", mask, 0, digest, bytes(16), bytes(16), 1, 0, 1, 0)
        return self.header(ID_BLOCK, fields + bytes(2 * (144 + 152)))

    def build(self) -> bytes:
        """Return the file."""
        fixed_size = 24 if self.version == 1 else 32
        size = sum(8 + (len(payload) + 7 & ~7) for _, payload in self._headers)
        data, payloads = b"", [bytearray(payload) for _, payload in self._headers]
        for index, at, part in self._data:
            struct.pack_into("<I", payloads[index], at, fixed_size + size + len(data))
            data += part
        data = data or bytes(8)  # the reference reader wants some
        headers = b"".join(
            struct.pack("<II", kind, len(payload)) + bytes(payload).ljust(len(payload) + 7 & ~7, b"\0")
            for (kind, _), payload in zip(self._headers, payloads, strict=True)
        )
        values: dict[str, int | bytes] = {
            "magic": b"IGVM",
            "start": fixed_size,
            "size": size,
            "total": fixed_size + size + len(data),
            "architecture": 0,
            "page_size": 4096,
            **self.fixed,
        }

        def fixed(checksum: int | bytes) -> bytes:
            parts = (values["magic"], self.version, values["start"], values["size"], values["total"], checksum)
            more = b"" if self.version == 1 else struct.pack("<II", values["architecture"], values["page_size"])
            return struct.pack("<4sIIIII", *parts) + more

        checksum = values.get("checksum", zlib.crc32(fixed(0) + headers))
        return fixed(checksum) + headers + data


def example(version: int = 1) -> IgvmWriter:
    """Return a file with every kind of page, for SNP and for native, as a paravisor's builder lays it out."""
    pages = [bytes([number]) * 4096 for number in range(1, 4)]
    writer = IgvmWriter(version=version).platform().platform(kind=0, mask=2).policy()
    writer.area(0x3000)
    writer.page(0x10000, pages[0]).page(0x11000).page(0x12000, pages[1], flags=2)
    writer.page(0x13000, kind=1).page(0x14000, pages[2], kind=2).page(0x15000, pages[2], kind=3)
    writer.page(0x40000, pages[0], mask=2)  # native alone
    writer.page(0x16000, pages[1], flags=4)  # shared: in no digest
    writer.page(0x17000, pages[0], mask=3)
    writer.insert(0x20000)
    writer.header(0x305, struct.pack("<QIIII", 0, SNP_MASK, 0x100000, 0, 0))
    return writer.context(vmsa())
