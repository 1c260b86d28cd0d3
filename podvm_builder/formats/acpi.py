"""ACPI tables as QEMU hands them to firmware: the blob ``etc/acpi/tables``, and what follows from it.

QEMU gives firmware three fw_cfg files: the tables one behind the other, not yet linked, the root pointer
(``etc/acpi/rsdp``), and the commands that link them (``etc/table-loader``). Firmware measures all three as they come.
Specifications: ACPI 6.5 §5.2; QEMU ``hw/acpi/bios-linker-loader.c``. Little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from podvm_builder.errors import FormatError

CODE = "PVB211"
BLOB_UNIT = 0x20000
"""QEMU pads the tables of a PC to a multiple of this, so that their size does not change with every device."""
MAX_TABLES = 4 << 20
"""Bytes; QEMU's own limit is 2 MiB."""

TABLES_FILE = "etc/acpi/tables"
RSDP_FILE = "etc/acpi/rsdp"
LOADER_FILE = "etc/table-loader"

_COMMAND = 128
_LOADER_UNIT = 4096
_ALLOCATE, _ADD_POINTER, _ADD_CHECKSUM, _WRITE_POINTER = 1, 2, 3, 4
_HIGH, _F_SEGMENT = 1, 2
_HEADER = 36
_CHECKSUM_AT = 9
_RSDP = struct.Struct("<8sB6sBI")
_DERIVABLE = frozenset(
    {b"FACS", b"DSDT", b"FACP", b"APIC", b"HPET", b"MCFG", b"WAET", b"SRAT", b"SLIT", b"HMAT", b"RSDT"}
)
"""Tables that QEMU links in the one usual way. A TPM, VM generation ID, NVDIMM or error record brings more commands."""
_LOCAL_APIC, _LOCAL_X2APIC = 0, 9


class AcpiTable(NamedTuple):
    """One table of the blob."""

    signature: bytes
    offset: int
    length: int


class AcpiFiles(NamedTuple):
    """What firmware measures of ACPI, as fw_cfg holds it."""

    loader: bytes
    """``etc/table-loader``."""
    rsdp: bytes
    """``etc/acpi/rsdp``."""
    tables: bytes
    """``etc/acpi/tables``."""


def parse_tables(blob: bytes) -> tuple[AcpiTable, ...]:
    """Return the tables of a blob, in its order.

    Raises:
        FormatError: not whole units of :data:`BLOB_UNIT`; tables that leave the blob or have no ACPI name; data behind
            the last one; no RSDT at the end, or one that does not list the tables as QEMU writes it.
    """
    if not blob or len(blob) % BLOB_UNIT or len(blob) > MAX_TABLES:
        raise FormatError(
            f"ACPI tables: {len(blob)} bytes are not what QEMU gives a PC, a multiple of {BLOB_UNIT}",
            code=CODE,
            hint=f"give fw_cfg file `{TABLES_FILE}` whole, its zeros at the end included",
        )
    tables: list[AcpiTable] = []
    at = 0
    while at + 8 <= len(blob) and any(blob[at : at + 4]):
        signature, length = struct.unpack_from("<4sI", blob, at)
        least = 64 if signature == b"FACS" else _HEADER
        if not signature.isalnum() or not least <= length <= len(blob) - at:
            raise FormatError("ACPI tables: what should be a table's header is none", at, code=CODE)
        tables.append(AcpiTable(signature, at, length))
        at += length
    if any(blob[at:]):
        raise FormatError("ACPI tables: data behind the last table", at, code=CODE)
    _check_root(blob, tables)
    return tuple(tables)


def derive_files(blob: bytes) -> AcpiFiles:
    """Return the root pointer and the linking commands that QEMU makes for a blob of tables.

    Raises:
        FormatError: as :func:`parse_tables`, or a table that brings linking commands of its own.
    """
    tables = parse_tables(blob)
    for table in tables:
        if table.signature not in _DERIVABLE:
            raise FormatError(
                f"ACPI tables: with a `{table.signature.decode('ascii')}` table the linking commands do not follow "
                "from the tables alone",
                table.offset,
                code=CODE,
                hint="give fw_cfg file `etc/table-loader` as well, or let QEMU make all three",
            )
    return AcpiFiles(loader=_loader(tables), rsdp=_rsdp(tables), tables=blob)


def derive_root(blob: bytes) -> bytes:
    """Return the root pointer alone, which follows from the tables whatever they are.

    Raises:
        FormatError: as :func:`parse_tables`.
    """
    return _rsdp(parse_tables(blob))


def check_loader(loader: bytes) -> None:
    """Refuse what is no list of linking commands.

    Raises:
        FormatError: not whole pages, empty, or a command that QEMU does not give.
    """
    if not loader or len(loader) % _LOADER_UNIT:
        raise FormatError(f"linking commands: {len(loader)} bytes are not whole pages", code=CODE)
    for at in range(0, len(loader), _COMMAND):
        command = int.from_bytes(loader[at : at + 4], "little")
        if command > _WRITE_POINTER or (command == 0 and (at == 0 or any(loader[at:]))):
            raise FormatError("linking commands: what should be one is none", at, code=CODE)
        if command == 0:
            return


def check_root(rsdp: bytes) -> None:
    """Refuse what is no root pointer of revision 0, as QEMU gives it to firmware.

    Raises:
        FormatError: another size, signature or revision, or a checksum, which is the firmware's to fill in.
    """
    if len(rsdp) != _RSDP.size or rsdp[:9] != b"RSD PTR \0" or rsdp[15] != 0:
        raise FormatError("root pointer: not the 20 bytes that QEMU hands to firmware", 0, code=CODE)


def enabled_cpus(blob: bytes) -> int | None:
    """Return the number of processors that are there at the start, None where no table lists them.

    Raises:
        FormatError: as :func:`parse_tables`, or a damaged list.
    """
    for table in parse_tables(blob):
        if table.signature == b"APIC":
            return _count_cpus(blob, table)
    return None


def _count_cpus(blob: bytes, table: AcpiTable) -> int:
    """Count enabled local APIC and x2APIC structures (ACPI 6.5 §5.2.12.2 and §5.2.12.12)."""
    count, at, end = 0, table.offset + 44, table.offset + table.length
    while at < end:
        kind, length = blob[at], blob[at + 1] if at + 1 < end else 0
        if length < 2 or at + length > end:
            raise FormatError("ACPI tables: an entry of the APIC table leaves it", at, code=CODE)
        if kind in (_LOCAL_APIC, _LOCAL_X2APIC) and length >= 8:
            flags = at + (4 if kind == _LOCAL_APIC else 8)
            count += blob[flags] & 1 if flags < at + length else 0
        at += length
    return count


def _check_root(blob: bytes, tables: Sequence[AcpiTable]) -> None:
    if not tables or tables[-1].signature != b"RSDT":
        raise FormatError("ACPI tables: the last table is no RSDT", tables[-1].offset if tables else 0, code=CODE)
    root = tables[-1]
    if [table.signature for table in tables].count(b"FACP") != 1 or tables[0].signature != b"FACS":
        raise FormatError("ACPI tables: not FACS first and one FACP", 0, code=CODE)
    listed = [table.offset for table in tables if table.signature not in (b"FACS", b"DSDT", b"RSDT")]
    written = struct.unpack_from(f"<{(root.length - _HEADER) // 4}I", blob, root.offset + _HEADER)
    if list(written) != listed:
        raise FormatError(
            "ACPI tables: the RSDT does not list the tables by their offsets",
            root.offset + _HEADER,
            code=CODE,
            hint=f"give fw_cfg file `{TABLES_FILE}`, not tables that firmware has linked already",
        )


def _rsdp(tables: Sequence[AcpiTable]) -> bytes:
    """Return a root pointer of revision 0, its checksum left to the firmware."""
    return _RSDP.pack(b"RSD PTR ", 0, b"BOCHS ", 0, tables[-1].offset)


def _loader(tables: Sequence[AcpiTable]) -> bytes:
    offsets = {table.signature: table.offset for table in tables}
    fixed, root = offsets[b"FACP"], tables[-1]
    commands = [_allocate(RSDP_FILE, 16, _F_SEGMENT), _allocate(TABLES_FILE, 64, _HIGH)]
    for table in tables:
        if table.signature == b"FACP":
            # FIRMWARE_CTRL, DSDT and, from revision 3 on, X_DSDT
            commands += [_pointer(TABLES_FILE, fixed + at, size) for at, size in ((36, 4), (40, 4), (140, 8))]
        elif table is root:
            entries = range(root.offset + _HEADER, root.offset + root.length, 4)
            commands += [_pointer(TABLES_FILE, at, 4) for at in entries]
        if table.signature != b"FACS":
            commands.append(_checksum(TABLES_FILE, table.offset + _CHECKSUM_AT, table.offset, table.length))
    commands += [_pointer(RSDP_FILE, 16, 4), _checksum(RSDP_FILE, 8, 0, _RSDP.size)]
    data = b"".join(commands)
    return data + bytes(-len(data) % _LOADER_UNIT)


def _allocate(file: str, alignment: int, zone: int) -> bytes:
    return struct.pack("<I56sIB", _ALLOCATE, file.encode(), alignment, zone).ljust(_COMMAND, b"\0")


def _pointer(file: str, offset: int, size: int) -> bytes:
    source = TABLES_FILE.encode()
    return struct.pack("<I56s56sIB", _ADD_POINTER, file.encode(), source, offset, size).ljust(_COMMAND, b"\0")


def _checksum(file: str, offset: int, start: int, length: int) -> bytes:
    return struct.pack("<I56sIII", _ADD_CHECKSUM, file.encode(), offset, start, length).ljust(_COMMAND, b"\0")
