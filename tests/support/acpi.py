"""ACPI blobs made from nothing, laid out as QEMU lays out a PC's."""

from __future__ import annotations

import struct
from collections.abc import Sequence

UNIT = 0x20000


def table(signature: bytes, body: bytes = b"") -> bytes:
    """Return a table with the common header, its checksum left out."""
    return struct.pack("<4sIBB6s8sI4sI", signature, 36 + len(body), 1, 0, b"BOCHS ", b"BXPC    ", 1, b"BXPC", 1) + body


def madt(cpus: int, *, unplugged: int = 0) -> bytes:
    """Return an APIC table with so many processors, some more of which are not there yet."""
    entries = b"".join(
        struct.pack("<BBBBI", 0, 8, number, number, int(number < cpus)) for number in range(cpus + unplugged)
    )
    return table(b"APIC", bytes(8) + entries + struct.pack("<BBBBII", 1, 12, 0, 0, 0xFEC00000, 0))


def blob(extra: Sequence[bytes] = (), *, cpus: int = 2) -> bytes:
    """Return ``etc/acpi/tables``: FACS, DSDT, FACP, APIC, the extra tables, RSDT, zeros."""
    facs = struct.pack("<4sI", b"FACS", 64).ljust(64, b"\0")
    parts = [facs, table(b"DSDT", b"code" * 50), table(b"FACP", bytes(208)), madt(cpus), *extra]
    offsets = [sum(map(len, parts[:index])) for index in range(2, len(parts))]
    data = b"".join([*parts, table(b"RSDT", struct.pack(f"<{len(offsets)}I", *offsets))])
    return data.ljust(-(-len(data) // UNIT) * UNIT, b"\0")
