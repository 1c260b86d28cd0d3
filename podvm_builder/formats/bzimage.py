"""The setup header of a Linux kernel, and what QEMU writes into it before it hands the kernel to firmware.

Specifications: Linux ``Documentation/arch/x86/boot.rst``; QEMU ``x86_load_linux`` (``hw/i386/x86-common.c``), which
fills the header in for a BIOS, and so changes the file's digest, except for a file that is no Linux kernel. QEMU 10.0
and newer offer the file as it is besides. Little-endian.
"""

from __future__ import annotations

import struct

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.readers import BytesReader, Extent, ExtentReader
from podvm_builder.model.reader import BinaryReader

CODE = "PVB213"
MAX_KERNEL = (4 << 30) - 1
"""Bytes; fw_cfg says a file's size in 32 bits."""

_HEADER_END = 0x264
_SETUP_SECTORS = 0x1F1
_MAGIC = 0x202
_LOADED_HIGH = 1
_ABOVE_4G = 2
_HEAP = 0x80
_LOADER_TYPE = 0xB0
_REAL_MODE, _CMDLINE = 0x10000, 0x20000
_ACPI_DATA = 0x28000
"""Memory that a PC's machine types since 2.3 keep free for ACPI below 4 GiB."""


def is_linux(kernel: BinaryReader) -> bool:
    """Say whether a file has a setup header; a UKI has none."""
    return kernel.size >= _MAGIC + 4 and kernel.read_at(_MAGIC, 4) == b"HdrS"


def check_loadable(kernel: BinaryReader) -> None:
    """Refuse a file that QEMU's ``-kernel`` does.

    Raises:
        FormatError: empty, over 4 GiB, or shorter than its setup code.
    """
    if not 0 < kernel.size <= MAX_KERNEL:
        raise FormatError(f"kernel: {kernel.size} bytes, where QEMU takes 1 to {MAX_KERNEL}", code=CODE)
    sectors = kernel.read_at(_SETUP_SECTORS, 1)[0] if kernel.size > _SETUP_SECTORS else 0
    if kernel.size < (sectors or 4) * 512 + 512:
        raise FormatError(f"kernel: {kernel.size} bytes are less than its setup code takes", _SETUP_SECTORS, code=CODE)


def patched_kernel(kernel: BinaryReader, *, initrd_size: int | None, below_4g: int, append: bytes) -> BinaryReader:
    """Return the kernel as QEMU's old way hands it to firmware.

    Args:
        kernel: the file.
        initrd_size: bytes of the initrd, None without one.
        below_4g: bytes of memory below 4 GiB; the initrd's address follows from it.
        append: the command line, which may choose a video mode.

    Raises:
        FormatError: no setup header, or one older than protocol 2.03 or for low memory.
        InputError: the initrd does not fit below 4 GiB; ``vga=`` in the command line.
    """
    if not is_linux(kernel) or kernel.size < _HEADER_END:
        raise FormatError("kernel: no setup header that QEMU would fill in", _MAGIC, code=CODE)
    header = bytearray(kernel.read_at(0, _HEADER_END))
    (protocol,) = struct.unpack_from("<H", header, 0x206)
    if protocol < 0x203 or not header[0x211] & _LOADED_HIGH:
        raise FormatError(
            f"kernel: boot protocol {protocol >> 8}.{protocol & 0xFF:02}, or one loaded into low memory",
            0x206,
            code=CODE,
        )
    if b"vga=" in append:
        raise InputError("`vga=` in a command line changes the kernel's header, which is not followed here", code=CODE)
    header[0x210] = _LOADER_TYPE
    header[0x211] |= _HEAP
    struct.pack_into("<H", header, 0x224, _CMDLINE - _REAL_MODE - 0x200)
    struct.pack_into("<I", header, 0x228, _CMDLINE)
    if initrd_size is not None:
        address = _initrd_address(header, protocol, initrd_size, below_4g)
        struct.pack_into("<II", header, 0x218, address, initrd_size)
    rest = ExtentReader(kernel, (Extent(_HEADER_END, kernel.size - _HEADER_END),))
    return _Joined(BytesReader(bytes(header)), rest)


def _initrd_address(header: bytearray, protocol: int, size: int, below_4g: int) -> int:
    flags = int.from_bytes(header[0x236:0x238], "little")
    limit = int.from_bytes(header[0x22C:0x230], "little")
    if protocol >= 0x20C and flags & _ABOVE_4G:
        limit = 0xFFFF_FFFF
    if limit >= below_4g - _ACPI_DATA:
        limit = below_4g - _ACPI_DATA - 1
    if size >= limit:
        raise InputError(f"an initrd of {size} bytes does not fit below {limit:#x}, where QEMU puts it", code=CODE)
    return (limit - size) & ~0xFFF


class _Joined:
    """Two readers, one behind the other."""

    def __init__(self, first: BinaryReader, second: BinaryReader) -> None:
        self._first, self._second = first, second

    @property
    def size(self) -> int:
        return self._first.size + self._second.size

    def read_at(self, offset: int, length: int) -> bytes:
        cut = self._first.size
        head = self._first.read_at(offset, min(length, cut - offset)) if offset < cut else b""
        rest = length - len(head)
        return head + self._second.read_at(max(offset - cut, 0), rest) if rest else head
