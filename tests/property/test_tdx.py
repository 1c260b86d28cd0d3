"""Laws of what a trust domain's registers are made of, for any input."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.catalog.ovmf import LAYOUTS
from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.acpi import check_loader, derive_files, enabled_cpus, parse_tables
from podvm_builder.formats.bzimage import patched_kernel
from podvm_builder.formats.readers import BytesReader, read_all
from podvm_builder.formats.smbios import measured_table
from podvm_builder.formats.td_hob import MEMORY_UNIT, memory_map, q35_memory, td_hob
from podvm_builder.formats.tdvf import TdxSection, TdxType
from podvm_builder.formats.varstore import parse_variable_store
from podvm_builder.measure.rtmr import fold, register_of, runtime_log
from podvm_builder.measure.tdx_machine import parse_memory
from podvm_builder.model.event import Event
from tests.support.acpi import blob, table
from tests.support.varstore import build_store

SIZES = st.integers(0x820000 // MEMORY_UNIT, (1 << 46) // MEMORY_UNIT).map(lambda units: units * MEMORY_UNIT)
KINDS = st.sampled_from([TdxType.TD_HOB, TdxType.TEMP_MEM])


@st.composite
def sections(draw: st.DrawFn) -> list[TdxSection]:
    """Return sections below 9 MiB that do not overlap, in any order, one of them the TD HOB."""
    pages = draw(st.lists(st.integers(0, 200), min_size=1, max_size=12, unique=True))
    found = [
        TdxSection(
            kind=TdxType.TEMP_MEM if index else TdxType.TD_HOB,
            gpa=0x700000 + page * 4096,
            size=4096,
            data_offset=0,
            data_size=0,
            extended=False,
        )
        for index, page in enumerate(pages)
    ]
    return draw(st.permutations(found))


@given(sections(), SIZES)
def test_the_memory_map_covers_memory_once_and_marks_the_sections(found: list[TdxSection], size: int) -> None:
    ranges = memory_map(found, size)
    assert sum(range_.length for range_ in ranges) == size == sum(length for _, length in q35_memory(size))
    assert all(one.start + one.length <= other.start for one, other in pairwise(ranges))
    assert {(range_.start, range_.length) for range_ in ranges if range_.accepted} == {
        (section.gpa, section.size) for section in found
    }
    hob = td_hob(found, size)
    assert len(hob) == 56 + 48 * len(ranges)
    # the list says where it ends, and that depends on nothing but its length
    place = next(section.gpa for section in found if section.kind is TdxType.TD_HOB)
    assert int.from_bytes(hob[48:56], "little") == place + len(hob) + 8


@given(
    st.lists(st.sampled_from([b"MCFG", b"WAET", b"HPET", b"SRAT"]), max_size=4, unique=True),
    st.binary(max_size=200),
    st.integers(0, 300),
)
def test_every_table_is_linked_and_counted_once(names: list[bytes], body: bytes, cpus: int) -> None:
    data = blob([table(name, body) for name in names], cpus=min(cpus, 255))
    tables = parse_tables(data)
    loader = derive_files(data).loader
    check_loader(loader)
    commands = [loader[at : at + 128] for at in range(0, len(loader), 128)]
    checksums = [command for command in commands if command[0] == 3 and b"etc/acpi/tables" in command]
    assert len(checksums) == len(tables) - 1
    assert enabled_cpus(data) == min(cpus, 255)


@given(st.binary(max_size=600), st.integers(0, 0x20000 - 1))
def test_any_bytes_in_a_blob_give_tables_or_an_error(junk: bytes, at: int) -> None:
    data = bytearray(blob([table(b"MCFG", bytes(24))]))
    data[at : at + len(junk)] = junk[: len(data) - at]
    with suppress(FormatError):
        derive_files(bytes(data))
    with suppress(FormatError):
        enabled_cpus(bytes(data))


@given(st.binary(max_size=400))
def test_any_smbios_table_is_reduced_or_refused(data: bytes) -> None:
    with suppress(FormatError):
        measured = measured_table(data + b"\x7f\4\0\0\0\0")
        assert len(measured) <= len(data) + 6


@given(st.binary(max_size=300), st.integers(72, 400))
def test_any_variable_store_is_read_or_refused(junk: bytes, at: int) -> None:
    data = bytearray(build_store([], size=0x2000))
    data[at : at + len(junk)] = junk
    with suppress(FormatError):
        parse_variable_store(bytes(data))


@given(st.binary(min_size=0x264, max_size=0x800), st.integers(0, 1 << 20), st.integers(1 << 22, 1 << 31))
def test_a_kernels_header_changes_in_place(data: bytes, initrd: int, below: int) -> None:
    kernel = data[:0x202] + b"HdrS" + data[0x206:]
    with suppress(InputError):
        reader = patched_kernel(BytesReader(kernel), initrd_size=initrd, below_4g=below, append=b"")
        patched = read_all(reader)
        assert len(patched) == len(kernel)
        assert patched[:0x210] == kernel[:0x210] and patched[0x22C:] == kernel[0x22C:]
        for offset in (0, 0x210, 0x263, 0x264):
            assert reader.read_at(offset, len(kernel) - offset) == patched[offset:]


@given(st.text(max_size=12))
def test_any_text_is_a_memory_size_or_refused(text: str) -> None:
    with suppress(InputError):
        assert parse_memory(text) >= 0


EVENTS = st.lists(
    st.builds(
        lambda pcr, kind, data: Event(
            pcr=pcr, kind=kind, digests={"sha384": hashlib.sha384(data).digest()}, subject="", source=""
        ),
        st.integers(0, 16),
        st.sampled_from(["EV_SEPARATOR", "EV_EFI_ACTION", "EV_IPL"]),
        st.binary(max_size=4),
    ),
    max_size=12,
)


@given(EVENTS, st.sampled_from([None, *LAYOUTS.values()]))
def test_a_runtime_log_differs_from_a_tpms_in_separators_alone(events: list[Event], layout: object) -> None:
    runtime = runtime_log(events, layout)  # type: ignore[arg-type]
    assert [event for event in runtime if event.kind != "EV_SEPARATOR"] == [
        event for event in events if event.kind != "EV_SEPARATOR"
    ]
    others = [event for event in runtime if event.kind == "EV_SEPARATOR" and event.pcr != 7]
    assert len(others) <= (layout is not None)
    for register in range(3):
        value = bytes(48)
        for event in runtime:
            if register_of(event.pcr) == register:
                value = hashlib.sha384(value + event.digests["sha384"]).digest()
        assert fold(runtime, register) == value
