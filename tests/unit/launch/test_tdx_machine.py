"""A machine as firmware measures it: memory map, ACPI files, SMBIOS tables, settings and boot entries."""

from __future__ import annotations

import hashlib
import struct

import pytest

from podvm_builder.catalog.ovmf import LAYOUTS, find_layout
from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.acpi import (
    AcpiFiles,
    check_loader,
    check_root,
    derive_files,
    derive_root,
    enabled_cpus,
    parse_tables,
)
from podvm_builder.formats.smbios import measured_table
from podvm_builder.formats.td_hob import memory_map, q35_memory, td_hob
from podvm_builder.formats.tdvf import TdxSection, TdxType
from podvm_builder.measure.boot_log import DIRECT, DISK
from podvm_builder.measure.rtmr import runtime_log
from podvm_builder.measure.tdx_boot import firmware_boot
from podvm_builder.measure.tdx_machine import TdxMachine, machine_log, parse_memory, unknown_machine
from tests.support.acpi import blob, table

MIB = 1 << 20
NEWEST = LAYOUTS["edk2-202505"]
HOB = TdxSection(kind=TdxType.TD_HOB, gpa=0x809000, size=0x2000, data_offset=0, data_size=0, extended=False)
TEMP = TdxSection(kind=TdxType.TEMP_MEM, gpa=0x80B000, size=0x2000, data_offset=0, data_size=0, extended=False)
ACPI = AcpiFiles(loader=b"loader", rsdp=b"root", tables=b"tables")


@pytest.mark.parametrize(
    ("mib", "ranges"),
    [
        (2048, [(0, 2048)]),
        (2815, [(0, 2815)]),
        # from 2.75 GiB on q35 leaves 2 GiB below 4 GiB
        (2816, [(0, 2048), (4096, 768)]),
        (8192, [(0, 2048), (4096, 6144)]),
    ],
)
def test_where_q35_splits_memory(mib: int, ranges: list[tuple[int, int]]) -> None:
    assert q35_memory(mib * MIB) == tuple((start * MIB, length * MIB) for start, length in ranges)


@pytest.mark.parametrize("size", [0, -MIB, 2048 * MIB + 1, 2048 * MIB + 4096, (1 << 46) + MIB])
def test_sizes_that_qemu_would_change_or_refuse(size: int) -> None:
    with pytest.raises(InputError) as caught:
        q35_memory(size)
    assert caught.value.code == "PVB214"


@pytest.mark.parametrize(("text", "size"), [("2048M", 2 << 30), ("2g", 2 << 30), ("2048", 2 << 30), ("1024K", 1 << 20)])
def test_sizes_are_written_as_for_qemu(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1M", "2.5G", "0x800M", "2048MB", "9" * 40, "2 G", "²G"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match="not a memory size"):
        parse_memory(text)


def test_memory_too_small_for_the_firmware_is_refused() -> None:
    with pytest.raises(InputError, match="TEMP_MEM"):
        memory_map([HOB, TEMP], 0x80C000)


def test_neighbours_are_not_merged() -> None:
    # the sections touch, and stay two ranges
    assert [(range_.start, range_.accepted) for range_ in memory_map([TEMP, HOB], 2048 * MIB)] == [
        (0, False),
        (HOB.gpa, True),
        (TEMP.gpa, True),
        (TEMP.gpa + TEMP.size, False),
    ]


def test_a_list_that_its_section_cannot_hold_is_refused() -> None:
    small = TdxSection(kind=TdxType.TD_HOB, gpa=0x809000, size=0x0, data_offset=0, data_size=0, extended=False)
    with pytest.raises(FormatError, match="does not fit") as caught:
        td_hob([small], 2048 * MIB)
    assert caught.value.code == "PVB225"


def test_linking_commands_follow_from_the_tables() -> None:
    data = blob([table(b"MCFG", bytes(24))], cpus=3)
    files = derive_files(data)
    assert files.tables == data
    assert len(files.loader) == 4096
    assert files.loader[4:21] == b"etc/acpi/rsdp\0\0\0\0"
    root = parse_tables(data)[-1].offset
    assert files.rsdp == b"RSD PTR \0BOCHS \0" + struct.pack("<I", root) == derive_root(data)
    check_loader(files.loader)
    check_root(files.rsdp)
    assert enabled_cpus(data) == 3


def test_a_table_with_commands_of_its_own_needs_them() -> None:
    data = blob([table(b"TPM2", bytes(40))])
    with pytest.raises(FormatError, match="TPM2") as caught:
        derive_files(data)
    assert "etc/table-loader" in str(caught.value.hint)
    # the root pointer does not depend on it
    assert derive_root(data)[:8] == b"RSD PTR "


LINKED = bytearray(blob())
LINKED[LINKED.index(b"RSDT") + 36] ^= 0xFF


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes"),
        (blob()[:8994], "multiple"),
        (blob()[:-1], "multiple"),
        (bytes(0x20000), "no RSDT"),
        (b"\xff" * 0x20000, "header"),
        (blob()[:-1] + b"\1", "behind the last"),
        (bytes(LINKED), "RSDT does not list"),
        (b"FACS\xff\xff\xff\xff".ljust(0x20000, b"\0"), "header"),
    ],
    ids=["empty", "cut", "cut-by-one", "zeros", "ones", "trailing", "linked", "wrapping"],
)
def test_what_is_not_qemus_blob_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        parse_tables(data)
    assert caught.value.code == "PVB211"


@pytest.mark.parametrize("loader", [b"", bytes(4096), b"\5".ljust(4096, b"\0"), derive_files(blob()).loader[:-1]])
def test_what_are_no_linking_commands(loader: bytes) -> None:
    with pytest.raises(FormatError):
        check_loader(loader)


def test_a_root_pointer_with_a_checksum_is_not_what_qemu_gives() -> None:
    with pytest.raises(FormatError):
        check_root(b"RSD PTR \x42BOCHS \0" + bytes(4))


# SMBIOS tables of a real TDX guest, and the digest of the event in its log (OVMF of edk2 202605)
SMBIOS = bytes.fromhex(
    "011b00010102030400000000000000000000000000000000060000436875746573005444582d564d00312e3000300000020f000201020304"
    "00010000030a00436875746573005444582d564d00312e30003000000316000301010203000303030200000000000000000043687574657300"
    "312e3000300000042a00040103fe02f2060c00fffba91f03000000d007d0074101ffffffffffff0000003e3e3e0200010043505520300051"
    "454d550070632d7133352d31302e320000042a01040103fe02f2060c00fffba91f03000000d007d0074101ffffffffffff0000003e3e3e02"
    "00010043505520310051454d550070632d7133352d31302e3200001017001001030600008046feff010000000000000000000000112800110010"
    "feffffffffffff7f090001000702000000020000000000a01100000000000000000044494d4d20300051454d550000131f00130000"
    "0000ffff1f00001001000000000000000000000000000000000000131f011300004000ffff9f460010010000000000000000000000000000"
    "00000000200b0020000000000000000000001a0000010200e803000800000000000000001c0000ffff000045444b20494900756e6b6e6f776e"
    "0030322f30322f3230323200007f04fffe0000"
)


def test_the_smbios_event_of_a_real_guest() -> None:
    assert hashlib.sha384(measured_table(SMBIOS)).hexdigest() == (
        "6801eb1ddd477a6a52232e291d4287b0e8f047d8f289546a0621cede30a9913d52c5eff1d8e299b064a9162fbe2f6f76"
    )


def structure(kind: int, body: bytes, *texts: bytes) -> bytes:
    strings = b"".join(text + b"\0" for text in texts) + b"\0" if texts else b"\0\0"
    return bytes([kind, 4 + len(body), 0, 0]) + body + strings


END = structure(127, b"")


def test_what_differs_by_machine_is_left_out() -> None:
    system = bytes([1, 2, 0, 2]) + b"U" * 16 + b"\6"
    data = structure(1, system, b"maker", b"serial") + structure(11, b"\1", b"secret") + structure(200, b"oem") + END
    measured = measured_table(data + b"behind the end")
    assert len(measured) == len(data)
    # the serial number is the second text, which the product name (offset 5) names as well
    assert b"maker\0      \0\0" in measured
    assert not any(word in measured for word in (b"serial", b"UUUU", b"secret", b"oem"))


@pytest.mark.parametrize(
    "data",
    [b"", structure(1, b"\0"), b"\1\3\0\0\0\0", b"\1\xff\0\0", structure(1, bytes([1, 2, 0, 9]), b"a", b"b") + END],
    ids=["empty", "no-end", "short", "leaves", "no-such-text"],
)
def test_damaged_smbios_tables_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        measured_table(data)
    assert caught.value.code == "PVB212"


def test_the_newest_layout_measures_settings_and_smbios_and_the_entries_that_are_there() -> None:
    settings = {"bootorder": b"/rom\0", "BootMenu": b"\0\0", "etc/extra-pci-roots": b"short", "etc/unknown": b"x"}
    order = struct.pack("<3H", 1, 0xA, 7)
    machine = TdxMachine(
        memory=2048 * MIB,
        acpi=ACPI,
        settings=settings,
        smbios=SMBIOS,
        entries={"BootOrder": order, "Boot0001": b"one", "Boot000A": b"ten", "Boot0002": b"not in the order"},
    )
    runtime = runtime_log(firmware_boot(DIRECT, secure_boot="absent", keys=None).log, NEWEST)
    subjects = [event.subject for event in machine_log(b"", [HOB], machine, NEWEST, runtime)]
    assert subjects == [
        "TD HOB: the memory map",
        "fw_cfg BootMenu",
        "fw_cfg bootorder",
        *(f"variable {name}" for name in ("SecureBoot", "PK", "KEK", "db", "dbx")),
        "separator",
        "ACPI linking commands",
        "ACPI root pointer",
        "ACPI tables",
        "SMBIOS tables, reduced",
        "variable BootOrder",
        "variable Boot0001",
        "variable Boot000A",
    ]


def test_a_guest_without_boot_entries_measures_none() -> None:
    machine = TdxMachine(memory=2048 * MIB, acpi=ACPI, settings={}, smbios=SMBIOS, entries={})
    runtime = runtime_log(firmware_boot(DIRECT, secure_boot="absent", keys=None).log, NEWEST)
    assert machine_log(b"", [HOB], machine, NEWEST, runtime)[-1].subject == "SMBIOS tables, reduced"


def test_what_rtmr_0_lacks_is_said() -> None:
    middle = LAYOUTS["edk2-202411"]
    bare = TdxMachine(memory=2048 * MIB)
    full = TdxMachine(memory=2048 * MIB, acpi=ACPI)
    assert "memory size" in str(unknown_machine(None, middle, direct=True))
    assert "ACPI" in str(unknown_machine(bare, middle, direct=True))
    assert unknown_machine(full, middle, direct=True) is None
    assert "boot entries" in str(unknown_machine(full, middle, direct=False))
    assert "SMBIOS" in str(unknown_machine(full, NEWEST, direct=True))
    assert firmware_boot(DISK, secure_boot="on", keys=None).unknown.keys() == {0, 1, 2}


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        find_layout("edk2-209901")
    assert caught.value.code == "PVB215"
    assert "edk2-202411" in str(caught.value.hint)
