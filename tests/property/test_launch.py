"""Codecs round-trip, and bytes that are not firmware give a value or a FormatError, never anything else."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.guid import guid_bytes, guid_text
from podvm_builder.formats.kernel_hashes import TABLE_SIZE, KernelHashes, decode_kernel_hashes, encode_kernel_hashes
from podvm_builder.formats.ovmf import read_table
from podvm_builder.measure.inputs import MAX_VCPUS, Cpu, parse_vcpus
from podvm_builder.measure.snp import launch_digest
from podvm_builder.measure.snp_launch import SnpLaunch
from podvm_builder.measure.tdx import ORDERS, mrtd
from podvm_builder.measure.vmm import VMMS
from tests.support import firmware as fw

SHA256 = st.binary(min_size=32, max_size=32)
HASHES = st.builds(KernelHashes, kernel=SHA256, initrd=SHA256, cmdline=SHA256)
CPU = Cpu.parse("EPYC-v4")
IMAGE = fw.Firmware(size=16 << 10, unique_pages=1).build()
TAIL = 1024


@given(HASHES)
def test_kernel_hashes_round_trip(hashes: KernelHashes) -> None:
    assert decode_kernel_hashes(encode_kernel_hashes(hashes)) == hashes


@given(HASHES, st.integers(0, TABLE_SIZE - 1), st.integers(1, 255))
def test_a_changed_table_is_another_or_refused(hashes: KernelHashes, at: int, flip: int) -> None:
    data = bytearray(encode_kernel_hashes(hashes))
    data[at] ^= flip
    with suppress(FormatError):
        assert encode_kernel_hashes(decode_kernel_hashes(bytes(data))) == bytes(data)


@given(st.binary(max_size=200))
def test_any_bytes_as_kernel_hashes(data: bytes) -> None:
    with suppress(FormatError):
        decode_kernel_hashes(data)


@given(st.uuids())
def test_guids_are_those_of_the_standard_library(guid: uuid.UUID) -> None:
    assert guid_text(guid.bytes_le) == str(guid)
    assert guid_bytes(str(guid)) == guid.bytes_le


@given(st.lists(st.tuples(st.integers(len(IMAGE) - TAIL, len(IMAGE) - 1), st.integers(0, 255)), max_size=12))
def test_damaged_firmware(changes: list[tuple[int, int]]) -> None:
    image = bytearray(IMAGE)
    for at, value in changes:
        image[at] = value
    with suppress(FormatError):
        assert len(launch_digest(bytes(image), cpu=CPU, vcpus=2, kernel=KernelHashes(kernel=bytes(32)))) == 48
    for order in ORDERS:
        with suppress(FormatError):
            assert len(mrtd(bytes(image), order)) == 48


@given(st.binary(max_size=TAIL))
def test_any_end_of_a_firmware(tail: bytes) -> None:
    with suppress(FormatError):
        read_table((IMAGE + tail)[-len(IMAGE) :])


SECTION = st.tuples(
    st.integers(0, (1 << 32) - 1), st.sampled_from([0, 0x1000, 0x3000, 0x1001, 0xFFFFF000]), st.integers(0, 20)
)


@given(st.lists(SECTION, max_size=6))
def test_any_sections(sections: list[tuple[int, int, int]]) -> None:
    image = replace(fw.Firmware(size=16 << 10, unique_pages=1), sev=tuple(sections)).build()
    with suppress(FormatError):
        assert len(launch_digest(image, cpu=CPU)) == 48


@given(st.text(alphabet="0123456789,- x", max_size=12))
def test_any_vcpu_list(text: str) -> None:
    with suppress(InputError):
        counts = parse_vcpus(text)
        assert counts == tuple(sorted(set(counts)))
        assert all(1 <= count <= MAX_VCPUS for count in counts)


@given(st.sets(st.integers(1, 40), min_size=1, max_size=6), st.sampled_from(VMMS))
def test_a_walk_gives_what_single_calls_give(counts: set[int], vmm: object) -> None:
    assert isinstance(vmm, type(VMMS[0]))
    found = SnpLaunch(IMAGE).digests(vmm, cpu=CPU, vcpus=counts)
    assert found == {count: launch_digest(IMAGE, cpu=CPU, vmm=vmm, vcpus=count) for count in counts}
