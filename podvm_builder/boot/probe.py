"""The program that firmware starts in the place of a kernel, so that a machine stops where it would be measured.

An EFI application of a few bytes: it turns the machine off through the chipset's power management register, which QEMU,
with ``-no-shutdown``, answers by stopping the machine with its memory as it is.
"""

from __future__ import annotations

import struct

_PM1A_CONTROL = 0x604
"""Where OVMF puts it on q35: power management base 0x600, register 4."""
_SLEEP_OFF = 0x2000
"""Sleep type 0 (off, on q35), and the bit that enters it."""
_HEADERS, _SECTION, _SETUP = 0x400, 0x200, 0x1000
"""Bytes of the headers and of the one section; what follows is what QEMU takes for setup code of a kernel."""

_CODE = (
    b"\x66\xba" + struct.pack("<H", _PM1A_CONTROL)  # mov dx, PM1a control
    + b"\x66\xb8" + struct.pack("<H", _SLEEP_OFF)  # mov ax, sleep
    + b"\x66\xef"  # out dx, ax
    + b"\xeb\xfe"  # and wait for it
)  # fmt: skip


def probe_application() -> bytes:
    """Return the program as a PE32+ file (Microsoft PE format; UEFI 2.10 §2.1.1)."""
    dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    optional = struct.pack("<HBBIIIII", 0x20B, 0, 0, _SECTION, 0, 0, 0x1000, 0x1000)
    optional += struct.pack("<QIIHHHHHH", 0, 0x1000, 0x200, 0, 0, 0, 0, 0, 0)
    optional += struct.pack("<IIIIHH", 0, 0x2000, _HEADERS, 0, 10, 0)
    optional += struct.pack("<QQQQII", 0, 0, 0, 0, 0, 6) + bytes(6 * 8)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, len(optional), 0x22E)
    section = struct.pack("<8sIIIIIIHHI", b".text", _SECTION, 0x1000, _SECTION, _HEADERS, 0, 0, 0, 0, 0x60000020)
    headers = dos + coff + optional + section
    return headers.ljust(_HEADERS, b"\0") + _CODE.ljust(_SECTION + _SETUP, b"\0")
