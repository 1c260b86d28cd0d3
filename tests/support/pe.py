"""Synthetic PE images and UKIs, built from scratch so that every header field can be bent."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from podvm_builder.formats.cpio import CpioFile, stub_archive

ALIGN = 512
INITRD = stub_archive("bin", [CpioFile(name="init", data=b"initrd bytes")])
"""A small initrd without systemd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section to write; None means: follow from the data."""

    name: bytes
    data: bytes = b""
    virtual_size: int | None = None
    raw_size: int | None = None
    raw_offset: int | None = None
    virtual_address: int | None = None


def build_pe(
    sections: Sequence[Section],
    *,
    plus: bool = True,
    directories: int = 16,
    subsystem: int = 10,
    size_of_headers: int | None = None,
    trailing: bytes = b"",
    certificate: bytes = b"",
    gap: int = 0,
    size_of_image: int | None = None,
    magic: int | None = None,
    dos_stub: bytes = b"",
) -> bytes:
    """Return a PE file.

    Args:
        sections: the section table, in order; data is written at 512-byte boundaries.
        plus: PE32+ instead of PE32.
        directories: number of data directory entries.
        subsystem: 10 is an EFI application.
        size_of_headers: instead of the rounded end of the section table.
        trailing: bytes after the last section.
        certificate: appended and entered into the certificate table.
        gap: bytes between the headers and the first section.
        size_of_image: instead of the end of the last section in memory.
        magic: optional header magic instead of the right one.
        dos_stub: bytes between the DOS header and the PE header (a bzImage's setup code stands there).
    """
    pe_offset = 64 + len(dos_stub)
    directory_offset = 112 if plus else 96
    optional_size = directory_offset + 8 * directories
    table_offset = pe_offset + 24 + optional_size
    headers = size_of_headers if size_of_headers is not None else _up(table_offset + 40 * len(sections))
    file = bytearray(headers + gap)
    table = bytearray()
    address = _up(headers, 4096)
    for section in sections:
        raw_size = section.raw_size if section.raw_size is not None else _up(len(section.data))
        raw_offset = section.raw_offset if section.raw_offset is not None else len(file)
        virtual_size = section.virtual_size if section.virtual_size is not None else len(section.data)
        virtual_address = section.virtual_address if section.virtual_address is not None else address
        if section.data:
            if len(file) < raw_offset + len(section.data):
                file += bytes(raw_offset + len(section.data) - len(file))
            file[raw_offset : raw_offset + len(section.data)] = section.data
            file += bytes(_up(len(file)) - len(file))
        address = _up(max(address, virtual_address + virtual_size), 4096)
        table += struct.pack(
            "<8sIIIIIIHHI", section.name, virtual_size, virtual_address, raw_size, raw_offset, 0, 0, 0, 0, 0x40000040
        )
    file += trailing
    optional = bytearray(optional_size)
    struct.pack_into("<H", optional, 0, magic if magic is not None else (0x20B if plus else 0x10B))
    struct.pack_into(
        "<IIIH",
        optional,
        56,
        address & 0xFFFFFFFF if size_of_image is None else size_of_image,
        headers,
        0xDEADBEEF,
        subsystem,
    )
    struct.pack_into("<I", optional, directory_offset - 4, directories)
    if certificate:
        struct.pack_into("<II", optional, directory_offset + 32, len(file), len(certificate))
        file += certificate
    head = bytearray(64)
    head[:2] = b"MZ"
    struct.pack_into("<I", head, 0x3C, pe_offset)
    head += dos_stub
    head += b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, len(sections), 0, 0, 0, optional_size, 0x22E)
    head += optional + table
    file[: len(head)] = head
    return bytes(file)


def build_kernel(version: bytes = b"6.12.1-test (x@y) #1", *, body: bytes = b"kernel code " * 100) -> bytes:
    """Return a PE that also looks like a bzImage: boot protocol header at 0x1F1, version text behind it."""
    stub = bytearray(0x300)
    stub[0x202 - 64 : 0x206 - 64] = b"HdrS"
    struct.pack_into("<H", stub, 0x20E - 64, 0x40)
    stub[0x240 - 64 : 0x240 - 64 + len(version) + 1] = version + b"\0"
    return build_pe([Section(name=b".text", data=body)], dos_stub=bytes(stub))


def build_uki(
    *,
    stub: bytes = b"257.13-1~deb13u1",
    cmdline: bytes = b"quiet root=/dev/sda",
    initrd: bytes = INITRD,
    linux: bytes | None = None,
    osrel: bytes = b"ID=test\nVERSION_ID=1\n",
    extra: Sequence[Section] = (),
    trailing: bytes = b"",
) -> bytes:
    """Return a UKI as ukify lays it out."""
    kernel = build_kernel() if linux is None else linux
    sections = [
        Section(name=b".text", data=b"stub code" * 50),
        Section(name=b".sdmagic", data=b"#### LoaderInfo: systemd-stub " + stub + b" ####"),
        Section(name=b".osrel", data=osrel),
        Section(name=b".cmdline", data=cmdline),
        Section(name=b".uname", data=b"6.12.1-test"),
        *extra,
        Section(name=b".initrd", data=initrd),
        Section(name=b".linux", data=kernel),
    ]
    return build_pe([section for section in sections if section.data or section.virtual_size], trailing=trailing)


def _up(value: int, to: int = ALIGN) -> int:
    return -(-value // to) * to
