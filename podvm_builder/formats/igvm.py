"""IGVM files: a fixed header, variable headers, and the file data that these point into.

The layout is that of Microsoft's ``igvm_defs`` 0.5 (format versions 1 and 2). All integers are little-endian, and
offsets into data count from the start of the file. A header type with bit 31 set may be ignored by whoever does not
know it; any other unknown type is refused, because it may place what is measured.
"""

from __future__ import annotations

import struct
import zlib

from podvm_builder.formats.igvm_headers import HeaderReader, igvm_error
from podvm_builder.formats.igvm_values import IgvmFile
from podvm_builder.formats.ovmf import PAGE

MAX_FILE = 256 << 20
"""Bytes; known files have below 80 MiB."""

_MAGIC = b"IGVM"
_FIXED = struct.Struct("<4sIIIII")
_FIXED_2 = struct.Struct("<II")


def read_igvm(data: bytes) -> IgvmFile:
    """Read a file.

    Raises:
        FormatError: another magic, version, architecture or page size; a size or checksum that is not the file's; a
            header that is unknown and not optional, of another length than its type's, outside its section, or
            pointing outside the file; pages that are not aligned, or more of them than any known file has.
    """
    if len(data) > MAX_FILE:
        raise igvm_error(f"larger than {MAX_FILE >> 20} MiB")
    version, start, end = _fixed_header(data)
    reader = HeaderReader(data, start, end)
    reader.read()
    return IgvmFile(
        version=version,
        platforms=tuple(reader.platforms),
        policies=tuple(reader.policies),
        directives=tuple(reader.directives),
        ignored=tuple(dict.fromkeys(reader.ignored)),
    )


def _fixed_header(data: bytes) -> tuple[int, int, int]:
    """Return the format version, and where the variable headers begin and end."""
    if len(data) < _FIXED.size:
        raise igvm_error("shorter than its header", 0)
    magic, version, start, size, total, checksum = _FIXED.unpack_from(data)
    if magic != _MAGIC:
        raise igvm_error("does not start with `IGVM`", 0)
    if version not in (1, 2):
        raise igvm_error(f"unknown format version {version}", 4)
    fixed = _FIXED.size
    if version == 2:
        fixed += _FIXED_2.size
        if len(data) < fixed:
            raise igvm_error("shorter than its header", 0)
        architecture, page_size = _FIXED_2.unpack_from(data, _FIXED.size)
        if architecture != 0:
            raise igvm_error(f"architecture {architecture} is not x86-64", 24)
        if page_size != PAGE:
            raise igvm_error(f"pages of {page_size} bytes, not {PAGE}", 28)
    if total != len(data):
        raise igvm_error(f"says {total} bytes and has {len(data)}", 16)
    if start < fixed or start % 8 or start + size > total:
        raise igvm_error(f"variable headers cannot lie at {start:#x} with {size:#x} bytes", 8)
    counted = zlib.crc32(data[start : start + size], zlib.crc32(data[:20] + bytes(4) + data[24:fixed]))
    if counted != checksum:
        raise igvm_error(f"checksum {checksum:#010x}, but its headers give {counted:#010x}", 20)
    return version, start, start + size
