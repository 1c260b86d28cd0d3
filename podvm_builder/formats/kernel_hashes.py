"""The table of kernel, initrd and command-line hashes that QEMU hands to SEV firmware (``kernel-hashes=on``).

168 bytes: a GUID, a u16 length, and three entries of GUID, u16 length and SHA-256, in the order command
line, initrd, kernel; padded with zeros to 176, as QEMU's ``target/i386/sev.c`` lays it out. All integers are
little-endian.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.guid import guid_bytes, guid_text

TABLE_GUID = "9438d606-4f22-4cc9-b479-a793d411fd21"
CMDLINE_GUID = "97d02dd8-bd20-4c94-aa78-e7714d36ab2a"
INITRD_GUID = "44baf731-3a2f-4bd7-9af1-41e29169781d"
KERNEL_GUID = "4de79437-abd2-427f-b835-d5b172d2045b"

TABLE_SIZE = 176
"""Bytes, padding included: what the firmware must have reserved."""

_TABLE = struct.Struct("<16sH" + "16sH32s" * 3 + "8x")
_LENGTH = 168
_ENTRY_LENGTH = 50
_NO_INITRD = hashlib.sha256(b"").digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelHashes:
    """SHA-256 digests of what QEMU loads: 32 bytes each."""

    kernel: bytes
    """Of the whole kernel file; a UKI counts as a kernel."""
    initrd: bytes = _NO_INITRD
    """Of the whole initrd; without one, of no bytes."""
    cmdline: bytes = hashlib.sha256(b"\0").digest()
    """Of the command line and the NUL that ends it; see :func:`hash_cmdline`."""

    def __post_init__(self) -> None:
        """Refuse anything but SHA-256 digests."""
        if any(len(digest) != 32 for digest in (self.kernel, self.initrd, self.cmdline)):
            raise ValueError("a SHA-256 digest has 32 bytes")


def hash_cmdline(cmdline: bytes) -> bytes:
    """Return the digest of a command line as given to ``-append``, nothing trimmed, with its final NUL.

    Raises:
        InputError: it holds a NUL, where QEMU and the kernel would see its end.
    """
    if b"\0" in cmdline:
        raise InputError("the command line holds a NUL byte", code="PVB232")
    return hashlib.sha256(cmdline + b"\0").digest()


def encode_kernel_hashes(hashes: KernelHashes) -> bytes:
    """Return the table, :data:`TABLE_SIZE` bytes."""
    return _TABLE.pack(
        guid_bytes(TABLE_GUID),
        _LENGTH,
        guid_bytes(CMDLINE_GUID),
        _ENTRY_LENGTH,
        hashes.cmdline,
        guid_bytes(INITRD_GUID),
        _ENTRY_LENGTH,
        hashes.initrd,
        guid_bytes(KERNEL_GUID),
        _ENTRY_LENGTH,
        hashes.kernel,
    )


def decode_kernel_hashes(data: bytes) -> KernelHashes:
    """Read a table that QEMU, or :func:`encode_kernel_hashes`, wrote.

    Raises:
        FormatError: another size, another GUID, another length, or padding that is not zero.
    """
    if len(data) != TABLE_SIZE:
        raise FormatError(f"kernel hash table: {len(data)} bytes, not {TABLE_SIZE}", code="PVB234")
    guid, length, *entries = _TABLE.unpack(data)
    if guid_text(guid) != TABLE_GUID or length != _LENGTH:
        raise FormatError("kernel hash table: does not start with its GUID and length", 0, code="PVB234")
    for index, expected in enumerate((CMDLINE_GUID, INITRD_GUID, KERNEL_GUID)):
        guid, length = entries[3 * index : 3 * index + 2]
        if guid_text(guid) != expected or length != _ENTRY_LENGTH:
            raise FormatError(
                f"kernel hash table: entry {index} is not {expected}", 18 + _ENTRY_LENGTH * index, code="PVB234"
            )
    if any(data[_LENGTH:]):
        raise FormatError("kernel hash table: its padding is not zero", _LENGTH, code="PVB234")
    return KernelHashes(cmdline=entries[2], initrd=entries[5], kernel=entries[8])
