"""OVMF images: the table, the metadata, and everything that must be refused."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.formats.ovmf import (
    HashTableArea,
    ap_reset_address,
    hash_table_area,
    read_table,
    unknown_entries,
)
from podvm_builder.formats.sev_metadata import SevType, read_sev_sections
from podvm_builder.formats.tdvf import TdxType, read_tdx_sections
from tests.support import firmware as fw

SMALL = fw.Firmware(size=64 << 10, unique_pages=4)
UNKNOWN = "0f0e0d0c-0b0a-0908-0706-050403020100"


def sev(image: bytes) -> object:
    return read_sev_sections(image, read_table(image))


def tdx(image: bytes) -> object:
    return read_tdx_sections(image, read_table(image))


def test_what_the_table_says() -> None:
    image = SMALL.build()
    table = read_table(image)
    assert ap_reset_address(table) == 0x0080B004
    assert hash_table_area(table) == HashTableArea(gpa=0x810C00, size=0x400)
    assert unknown_entries(table) == ()
    sections = read_sev_sections(image, table)
    assert sections is not None
    assert [(s.gpa, s.size, s.kind) for s in sections] == list(fw.AMDSEV_SECTIONS)


def test_absent_entries_are_none() -> None:
    image = replace(SMALL, reset=None, hash_table=None, sev=None, with_tdx=False).build()
    table = read_table(image)
    assert ap_reset_address(table) is None
    assert hash_table_area(table) is None
    assert read_sev_sections(image, table) is None
    assert read_tdx_sections(image, table) is None


def test_a_hash_table_at_address_zero_is_none() -> None:
    assert hash_table_area(read_table(replace(SMALL, hash_table=(0, 0)).build())) is None


def test_unknown_entries_are_listed_and_ignored() -> None:
    image = replace(SMALL, extra=((UNKNOWN, b"whatever"), (UNKNOWN, b""))).build()
    table = read_table(image)
    assert unknown_entries(table) == (UNKNOWN, UNKNOWN)
    assert read_sev_sections(image, table) == sev(SMALL.build())


def test_the_igvm_parameter_area_is_known() -> None:
    assert (
        unknown_entries(read_table(replace(SMALL, extra=(("784fa70e-3176-4677-8a20-04b68699e374", b"x"),)).build()))
        == ()
    )


def test_sections_of_size_zero_are_kept_and_may_stand_anywhere() -> None:
    image = replace(SMALL, sev=((0, 0, fw.SVSM_CAA), (0x123, 0, fw.MEMORY), *fw.AMDSEV_SECTIONS)).build()
    sections = read_sev_sections(image, read_table(image))
    assert sections is not None
    assert len(sections) == 2 + len(fw.AMDSEV_SECTIONS)
    assert sections[0].kind is SevType.SVSM_CAA


@pytest.mark.parametrize(
    ("image", "code", "words"),
    [
        pytest.param(b"", "PVB220", "empty", id="empty"),
        pytest.param(b"\0" * 4095, "PVB220", "multiple", id="not-whole-pages"),
        pytest.param(bytes((16 << 20) + 4096), "PVB220", "16 MiB", id="huge"),
        pytest.param(bytes(4096), "PVB221", "no OVMF table", id="not-firmware"),
        pytest.param(SMALL.build()[:-4096], "PVB221", "no OVMF table", id="cut-short"),
    ],
)
def test_files_that_are_not_ovmf(image: bytes, code: str, words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        read_table(image)
    assert caught.value.code == code


def with_table(table: bytes) -> bytes:
    image = bytes(8192)
    return image[: -32 - len(table)] + table + bytes(32)


@pytest.mark.parametrize("length", [0, 17, 20, 9000, 0xFFFF])
def test_a_table_of_an_impossible_length(length: int) -> None:
    with pytest.raises(FormatError) as caught:
        read_table(with_table(fw.guided_table([], length=length)))
    assert caught.value.code == "PVB221"


@pytest.mark.parametrize("entry_length", [0, 17, 19, 0xFFFF])
def test_an_entry_that_leaves_the_table(entry_length: int) -> None:
    table = bytearray(fw.guided_table([(fw.RESET, bytes(4)), (UNKNOWN, bytes(2))]))
    struct.pack_into("<H", table, len(table) - 18 - 18, entry_length)
    with pytest.raises(FormatError):
        read_table(with_table(bytes(table)))


def test_an_entry_twice() -> None:
    with pytest.raises(FormatError, match="twice"):
        read_table(replace(SMALL, extra=((fw.RESET, bytes(4)),)).build())


def test_a_table_of_exactly_its_entries_is_read_to_the_end() -> None:
    table = read_table(with_table(fw.guided_table([(fw.RESET, b"\1\0\0\0"), (UNKNOWN, b"ab")])))
    assert [(entry.guid, entry.data) for entry in table] == [(fw.RESET, b"\1\0\0\0"), (UNKNOWN, b"ab")]


@pytest.mark.parametrize("guid", [fw.RESET, fw.HASH_TABLE, fw.SEV, fw.TDX])
def test_an_entry_of_another_size(guid: str) -> None:
    image = replace(SMALL, reset=None, hash_table=None, sev=None, with_tdx=False, extra=((guid, b"12345"),)).build()
    table = read_table(image)
    with pytest.raises(FormatError) as caught:
        for read in (ap_reset_address, hash_table_area):
            read(table)
        read_sev_sections(image, table)
        read_tdx_sections(image, table)
    assert caught.value.code == "PVB221"


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        pytest.param(((0x800000, 0x1000, 7),), "unknown type 0x7", id="unknown-type"),
        pytest.param(((0, 0, 0x11),), "unknown type 0x11", id="unknown-type-of-size-zero"),
        pytest.param(((0x800800, 0x1000, 1),), "whole pages", id="address"),
        pytest.param(((0x800000, 0x1800, 1),), "whole pages", id="size"),
        pytest.param(((0xFFFE0000, 0x40000, 1),), "leaves the first 4 GiB", id="past-4-gib"),
        pytest.param(((0x800000, 0xFFFFF000, 1),), "leaves the first 4 GiB", id="wrapping"),
        pytest.param(((0x800000, 0x2000, 1), (0x801000, 0x1000, 4)), "overlaps SEV section 0", id="overlap"),
        pytest.param(((0xFFFF0000, 0x1000, 1),), "overlaps the firmware", id="overlaps-the-image"),
        pytest.param(((0x10000000, 0x10000000, 1),), "more than 64 MiB", id="huge"),
        pytest.param(((0x10000000, 0x3000000, 1), (0x20000000, 0x2000000, 1)), "more than 64 MiB", id="huge-in-all"),
        pytest.param(((0x800000, 0x2000, 3),), "not one page", id="cpuid-of-two-pages"),
        pytest.param(((0x800000, 0x2000, 2),), "not one page", id="secrets-of-two-pages"),
        pytest.param(((0x800000, 0x1000, 3), (0x802000, 0x1000, 3)), "second one", id="cpuid-twice"),
        pytest.param(((0x800000, 0x1000, 16), (0x802000, 0x1000, 16)), "second one", id="hashes-twice"),
        pytest.param(((0, 0, 1),) * 257, "257 sections", id="many"),
    ],
)
def test_sev_sections_that_cannot_be(sections: tuple[tuple[int, int, int], ...], words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        sev(replace(SMALL, sev=sections).build())
    assert caught.value.code == "PVB222"
    assert caught.value.offset is not None


@pytest.mark.parametrize(
    "header",
    [{"signature": b"ASEW"}, {"version": 2}, {"length": 99}, {"count": 8}, {"count": 0xFFFFFFFF}, {"length": 0}],
)
def test_sev_headers_that_cannot_be(header: dict[str, int | bytes]) -> None:
    with pytest.raises(FormatError) as caught:
        sev(replace(SMALL, sev_header=header).build())
    assert caught.value.code == "PVB222"


@pytest.mark.parametrize("from_end", [0, 15, 0x10001, 0xFFFFFFFF])
@pytest.mark.parametrize("guid", [fw.SEV, fw.TDX])
def test_metadata_outside_the_image(guid: str, from_end: int) -> None:
    image = replace(SMALL, sev=None, with_tdx=False, extra=((guid, struct.pack("<I", from_end)),)).build()
    with pytest.raises(FormatError, match="before the end"):
        (sev if guid == fw.SEV else tdx)(image)


def test_metadata_that_ends_outside_the_image() -> None:
    image = bytearray(replace(SMALL, sev=None, with_tdx=False, extra=((fw.SEV, struct.pack("<I", 16)),)).build())
    image[-16:] = struct.pack("<4sIII", b"ASEV", 28, 1, 1)
    with pytest.raises(FormatError) as caught:
        sev(bytes(image))
    assert caught.value.code == "PVB222"


def test_tdx_sections_of_ovmf() -> None:
    image = SMALL.build()
    sections = read_tdx_sections(image, read_table(image))
    assert sections is not None
    assert [s.kind for s in sections] == [
        TdxType.BFV,
        TdxType.CFV,
        *[TdxType.TEMP_MEM] * 2,
        TdxType.TD_HOB,
        TdxType.TEMP_MEM,
    ]
    assert [s.extended for s in sections] == [True, False, False, False, False, False]


HOB = (0, 0, 0x809000, 0x2000, fw.TD_HOB, 0)
CODE = (0x2000, 0xE000, 0xFFFF2000, 0xE000, fw.BFV, 1)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        pytest.param((HOB,), "1 sections", id="one-section"),
        pytest.param((HOB, (0, 0, 0x800000, 0x1000, 4, 0)), "type 4", id="type-of-td-shim"),
        pytest.param((HOB, (0, 0, 0x800000, 0x1000, fw.TEMP_MEM, 4)), "unknown attributes", id="attribute"),
        pytest.param((HOB, (0, 0, 0x800000, 0x1000, fw.TEMP_MEM, 2)), "augmented", id="augmented"),
        pytest.param((HOB, (0, 0x2000, 0xFFFF0000, 0x1000, fw.BFV, 1)), "fills", id="data-above-memory"),
        pytest.param((HOB, (0, 0, 0xFFFF0000, 0x1000, fw.BFV, 1)), "without data", id="volume-without-data"),
        pytest.param((HOB, (0x10000, 0x1000, 0xFFFF0000, 0x1000, fw.BFV, 1)), "past the end", id="data-past-the-end"),
        pytest.param(
            (HOB, (0xFFFFF000, 0x1000, 0xFFFF0000, 0x1000, fw.CFV, 1)), "past the end", id="offset-past-the-end"
        ),
        pytest.param((HOB, (0xF000, 0x1000, 0xFFFF0000, 0x2000, fw.BFV, 1)), "past the end", id="tail-past-the-end"),
        pytest.param((HOB, (0, 0x1000, 0x800000, 0x1000, fw.TEMP_MEM, 0)), "must have no data", id="memory-with-data"),
        pytest.param((HOB, CODE, CODE), "overlaps", id="overlap"),
        pytest.param((HOB, (0, 0, 0x800001, 0x1000, fw.TEMP_MEM, 0)), "whole pages", id="address"),
        pytest.param((HOB, (0, 0, 1 << 40, 0x1000, fw.TEMP_MEM, 0)), "leaves the first 4 GiB", id="past-4-gib"),
        pytest.param(
            (HOB, (0, 0, (1 << 64) - 0x1000, 0x2000, fw.TEMP_MEM, 0)), "leaves the first 4 GiB", id="wrapping"
        ),
        pytest.param((HOB, (0, 0, 0x10000000, 1 << 30, fw.TEMP_MEM, 0)), "more than 64 MiB", id="huge"),
        pytest.param((CODE, (0, 0, 0x800000, 0x1000, fw.TEMP_MEM, 0)), "exactly one TD_HOB", id="no-hob"),
        pytest.param((HOB, (0, 0, 0x800000, 0x1000, fw.TD_HOB, 0)), "exactly one TD_HOB", id="two-hobs"),
    ],
)
def test_tdx_sections_that_cannot_be(sections: tuple[tuple[int, int, int, int, int, int], ...], words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        tdx(replace(SMALL, tdx=sections).build())
    assert caught.value.code == "PVB225"


@pytest.mark.parametrize("header", [{"signature": b"TDVX"}, {"version": 2}, {"length": 17}, {"count": 5}])
def test_tdx_headers_that_cannot_be(header: dict[str, int | bytes]) -> None:
    with pytest.raises(FormatError) as caught:
        tdx(replace(SMALL, tdx_header=header).build())
    assert caught.value.code == "PVB225"
