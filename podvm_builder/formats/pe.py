"""PE images (PE32 and PE32+): headers, sections, and the digest that UEFI firmware measures.

Specifications: Microsoft PE format; Windows Authenticode Portable Executable Signature Format §"Calculating the PE
image hash", as edk2 computes it (``MeasurePeImageAndExtend``): after the sections come the bytes from the running
*sum* of what was hashed, not from the end of the last section, they are hashed for unsigned files too, and nothing
is padded. Signing tools pad a file to 8 bytes first, which is why a signed and an unsigned file of odd length differ.

All numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from podvm_builder.errors import FormatError
from podvm_builder.formats.digests import MultiHash
from podvm_builder.formats.readers import chunks
from podvm_builder.model.reader import BinaryReader

CODE = "PVB240"
EFI_APPLICATION = 10

MAX_SIZE = (1 << 32) - 1
"""Bytes of a file: its sizes and offsets have 32 bits."""

_MAX_SECTIONS = 96
"""The Windows loader's limit; edk2 has none of its own, and a UKI has about 15."""
_SECURITY_DIRECTORY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PeSection:
    """One entry of the section table."""

    name: str
    """Up to 8 characters, as stored; bytes outside ASCII as Latin-1."""
    virtual_size: int
    virtual_address: int
    raw_size: int
    raw_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeImage:
    """What the headers say; every raw section lies inside the file, and none overlaps another."""

    size: int
    """Length of the file in bytes."""
    machine: int
    subsystem: int
    checksum_offset: int
    certificate_entry_offset: int | None
    """Offset of the data directory's certificate table entry; None where the directory is shorter."""
    certificate_size: int
    size_of_headers: int
    size_of_image: int
    sections: tuple[PeSection, ...]
    """In the order of the table."""

    def section(self, name: str) -> PeSection | None:
        """Return the first section of that name."""
        return next((section for section in self.sections if section.name == name), None)


def parse_pe(reader: BinaryReader) -> PeImage:
    """Read the headers of a PE image.

    Raises:
        FormatError: not a PE image; a header or section outside the file; sections that overlap in the file.
    """
    if reader.size > MAX_SIZE:
        raise _error(f"{reader.size} bytes; firmware loads files below 4 GiB alone", MAX_SIZE)
    dos = _read(reader, 0, 64, "DOS header")
    if dos[:2] != b"MZ":
        raise _error("no `MZ` at the start: not a PE image", 0)
    (pe_offset,) = struct.unpack_from("<I", dos, 0x3C)
    coff = _read(reader, pe_offset, 24, "PE header")
    if coff[:4] != b"PE\0\0":
        raise _error("no `PE` signature", pe_offset)
    machine, count, _, _, _, optional_size, _ = struct.unpack_from("<HHIIIHH", coff, 4)
    optional_offset = pe_offset + 24
    optional = _read(reader, optional_offset, optional_size, "optional header")
    entries, directory_offset = _directories(optional, optional_offset)
    size_of_image, size_of_headers, subsystem = struct.unpack_from("<II4xH", optional, 56)
    if count > _MAX_SECTIONS:
        raise _error(f"{count} sections; at most {_MAX_SECTIONS} are credible", pe_offset + 6)
    table_offset = optional_offset + optional_size
    table = _read(reader, table_offset, 40 * count, "section table")
    if not table_offset + len(table) <= size_of_headers <= reader.size:
        raise _error(
            f"`SizeOfHeaders` is {size_of_headers}, outside the end of the section table and the file's {reader.size}",
            optional_offset + 60,
        )
    certificate_size = 0
    certificate_entry = None
    if entries > _SECURITY_DIRECTORY:
        certificate_entry = optional_offset + directory_offset + 8 * _SECURITY_DIRECTORY
        certificate_offset, certificate_size = struct.unpack_from("<II", optional, directory_offset + 32)
        if certificate_size and certificate_offset + certificate_size > reader.size:
            raise _error("the certificate table ends behind the end of the file", certificate_entry)
    sections = tuple(_section(table, 40 * index, table_offset, reader.size) for index in range(count))
    _check_overlaps(sections, size_of_headers)
    return PeImage(
        size=reader.size,
        machine=machine,
        subsystem=subsystem,
        checksum_offset=optional_offset + 64,
        certificate_entry_offset=certificate_entry,
        certificate_size=certificate_size,
        size_of_headers=size_of_headers,
        size_of_image=size_of_image,
        sections=sections,
    )


def authenticode_ranges(image: PeImage) -> tuple[tuple[int, int], ...]:
    """Return the (offset, length) ranges that the digest covers, in hashing order.

    Raises:
        FormatError: headers, sections and certificates together are longer than the file: edk2 does not load it.
    """
    ranges = [(0, image.checksum_offset)]
    position = image.checksum_offset + 4
    if image.certificate_entry_offset is not None:
        ranges.append((position, image.certificate_entry_offset - position))
        position = image.certificate_entry_offset + 8
    ranges.append((position, image.size_of_headers - position))
    done = image.size_of_headers
    for section in sorted(image.sections, key=lambda section: section.raw_offset):
        if section.raw_size:
            ranges.append((section.raw_offset, section.raw_size))
            done += section.raw_size
    rest = image.size - image.certificate_size - done
    if rest < 0:
        raise _error("headers, sections and certificate table together are longer than the file", done)
    ranges.append((done, rest))
    return tuple(range_ for range_ in ranges if range_[1])


def authenticode(reader: BinaryReader, algorithms: Sequence[str], image: PeImage | None = None) -> dict[str, bytes]:
    """Return the Authenticode digest per algorithm, as edk2 measures it, in one pass over the file.

    Args:
        reader: the PE file.
        algorithms: names as :mod:`hashlib` knows them.
        image: its headers, where they have been read already.

    Raises:
        FormatError: as :func:`parse_pe` and :func:`authenticode_ranges`.
    """
    return authenticode_hash(reader, algorithms, parse_pe(reader) if image is None else image).digests()


def authenticode_hash(reader: BinaryReader, algorithms: Sequence[str], image: PeImage) -> MultiHash:
    """Do what :func:`authenticode` does and return the states."""
    state = MultiHash(algorithms)
    for offset, length in authenticode_ranges(image):
        state.feed(chunks(reader, offset, length))
    return state


def _directories(optional: bytes, offset: int) -> tuple[int, int]:
    """Return the number of data directories that are really there and their offset in the optional header."""
    if len(optional) < 2:
        raise _error("no optional header: not an executable image", offset)
    (magic,) = struct.unpack_from("<H", optional)
    if magic not in (0x10B, 0x20B):
        raise _error(f"optional header magic is {magic:#x}, neither PE32 nor PE32+", offset)
    directory_offset = 96 if magic == 0x10B else 112
    if len(optional) < directory_offset:
        raise _error("the optional header is truncated", offset)
    (entries,) = struct.unpack_from("<I", optional, directory_offset - 4)
    if directory_offset + 8 * entries > len(optional):
        raise _error(f"{entries} data directories do not fit the optional header", offset + directory_offset - 4)
    return entries, directory_offset


def _section(table: bytes, at: int, table_offset: int, size: int) -> PeSection:
    name, virtual_size, virtual_address, raw_size, raw_offset = struct.unpack_from("<8sIIII", table, at)
    if raw_size and raw_offset + raw_size > size:
        raise _error("a section ends behind the end of the file", table_offset + at)
    if virtual_address + virtual_size > 1 << 32:
        raise _error("a section wraps around the 4 GiB address space", table_offset + at)
    return PeSection(
        name=name.rstrip(b"\0").decode("latin-1"),
        virtual_size=virtual_size,
        virtual_address=virtual_address,
        raw_size=raw_size,
        raw_offset=raw_offset,
    )


def _check_overlaps(sections: tuple[PeSection, ...], size_of_headers: int) -> None:
    """Refuse bytes that would be hashed twice: such a file has no meaning that all loaders share."""
    end = size_of_headers
    for section in sorted((one for one in sections if one.raw_size), key=lambda one: one.raw_offset):
        if section.raw_offset < end:
            raise _error(f"section `{section.name}` overlaps what stands before it in the file", section.raw_offset)
        end = section.raw_offset + section.raw_size


def _read(reader: BinaryReader, offset: int, length: int, what: str) -> bytes:
    if offset + length > reader.size:
        raise _error(f"the {what} ends behind the end of the file", offset)
    return reader.read_at(offset, length)


def _error(what: str, offset: int) -> FormatError:
    return FormatError(f"PE image: {what}", offset, code=CODE)
