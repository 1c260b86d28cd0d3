"""Any bytes give a value or a FormatError; so do valid files with a few bytes changed; what is written is read back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import FormatError
from podvm_builder.formats.cpio import CpioFile, stub_archive
from podvm_builder.formats.eventlog import (
    ALGORITHMS,
    EVENT_NAMES,
    EventLog,
    LogEvent,
    encode_event_log,
    parse_event_log,
)
from podvm_builder.formats.eventlog_replay import banks, check, replay
from podvm_builder.formats.fat import FatFilesystem
from podvm_builder.formats.gpt import measured_data, parse_gpt
from podvm_builder.formats.pe import authenticode, authenticode_ranges, parse_pe
from podvm_builder.formats.readers import BytesReader, Extent, ExtentReader, chunks, read_all
from podvm_builder.formats.uki import parse_uki
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.tpm import predict_tpm
from podvm_builder.measure.tpm_boot import TpmBoot
from tests.support.disk import ESP, build_disk, build_fat
from tests.support.pe import build_uki

FAT = build_fat({"EFI/BOOT/BOOTX64.EFI": build_uki()}, bits=12)
# damage is worth trying where structures are; the rest of the file system is empty
DISK = build_disk([(ESP, FAT)])


def _read_fat(reader: BytesReader) -> None:
    filesystem = FatFilesystem(reader)
    for entry in filesystem.list():
        if not entry.is_folder:
            filesystem.open(entry)
    filesystem.find("EFI/BOOT/BOOTX64.EFI")


def _read_log(reader: BytesReader) -> None:
    log = parse_event_log(read_all(reader))
    check(log)
    for bank in banks(log):
        replay(log, bank)


def _read_boot(reader: BytesReader) -> None:
    predict_tpm(read_boot_artifacts(reader), [TpmBoot()], banks=("sha256",))


READERS: dict[str, Callable[[BytesReader], object]] = {
    "pe": lambda reader: authenticode(reader, ("sha256",)),
    "uki": parse_uki,
    "gpt": lambda reader: measured_data(parse_gpt(reader)),
    "fat": _read_fat,
    "eventlog": _read_log,
    "boot": _read_boot,
}
VALID = {
    "pe": build_uki(),
    "uki": build_uki(),
    "gpt": DISK[:20480],
    "fat": FAT,
    "boot": build_uki(),
}


@pytest.mark.parametrize("name", READERS)
@given(data=st.binary(max_size=2048))
def test_any_bytes(name: str, data: bytes) -> None:
    for prefix in (b"", b"MZ", bytes(512) + b"EFI PART"):
        try:
            READERS[name](BytesReader(prefix + data))
        except FormatError as error:
            assert error.message


@pytest.mark.parametrize("name", VALID)
@given(changes=st.lists(st.tuples(st.integers(0, 1500), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4))
def test_damaged_files(name: str, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(VALID[name])
    for offset, value in changes:
        data[offset : offset + len(value)] = value
    try:
        READERS[name](BytesReader(bytes(data)))
    except FormatError as error:
        assert error.message


@given(length=st.integers(0, len(build_uki())))
def test_truncated_uki(length: int) -> None:
    try:
        parse_uki(BytesReader(build_uki()[:length]))
    except FormatError as error:
        assert error.code in ("PVB240", "PVB241")


@given(changes=st.lists(st.tuples(st.integers(0, 1500), st.binary(min_size=1, max_size=4)), max_size=4))
def test_no_byte_of_a_pe_image_is_hashed_twice_but_for_the_running_sum(changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(build_uki(trailing=b"tail"))
    for offset, value in changes:
        data[offset : offset + len(value)] = value
    try:
        image = parse_pe(BytesReader(bytes(data)))
        ranges = authenticode_ranges(image)
    except FormatError:
        return
    end = 0
    for offset, length in ranges[:-1]:
        assert end <= offset
        assert length > 0
        end = offset + length
    assert all(offset + length <= len(data) for offset, length in ranges)


SIZES = {name: hashlib.new(name, usedforsecurity=False).digest_size for name in ("sha1", "sha256", "sha384", "sha512")}


@st.composite
def logs(draw: st.DrawFn) -> EventLog:
    names = draw(st.permutations(list(SIZES)).map(lambda order: tuple(order[: 1 + len(order) // 2])))
    agile = draw(st.booleans())
    algorithms = names if agile else ("sha1",)
    events = draw(
        st.lists(
            st.tuples(st.integers(0, 23), st.sampled_from(sorted(EVENT_NAMES)), st.binary(max_size=40)), max_size=6
        )
    )
    log = tuple(
        LogEvent(
            index=index,
            kind=kind,
            # a digest that is never all zeros, so that no event looks like padding
            digests={name: hashlib.new(name, b"%d" % number, usedforsecurity=False).digest() for name in algorithms},
            data=data,
        )
        for number, (index, kind, data) in enumerate(events)
    )
    if not agile and not log:
        log = (LogEvent(index=0, kind=4, digests={"sha1": b"\1" * 20}, data=b""),)
    return EventLog(crypto_agile=agile, algorithms=algorithms, events=log)


@given(logs())
def test_event_log_round_trip(log: EventLog) -> None:
    assert parse_event_log(encode_event_log(log)) == log
    assert set(ALGORITHMS.values()) >= set(log.algorithms)


@given(
    folder=st.sampled_from([".extra", "x"]),
    files=st.lists(st.tuples(st.sampled_from(["a", "os-release", "long" * 30]), st.binary(max_size=50)), max_size=4),
)
def test_cpio_reads_back(folder: str, files: list[tuple[str, bytes]]) -> None:
    archive = stub_archive(folder, [CpioFile(name=name, data=data) for name, data in files])
    assert len(archive) % 4 == 0
    found = _read_cpio(archive)
    assert found[0] == (folder, 0o040555, b"")
    assert found[1:] == [(f"{folder}/{name}", 0o100444, data) for name, data in files]


def _read_cpio(data: bytes) -> list[tuple[str, int, bytes]]:
    """Read "newc" entries by the specification: 6 bytes magic, 13 fields of 8 hexadecimal digits, name, data."""
    found = []
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * number : at + 14 + 8 * number], 16) for number in range(13)]
        start = at + 110
        name = data[start : start + fields[11] - 1].decode()
        start = start + fields[11] + (-(110 + fields[11])) % 4
        if name == "TRAILER!!!":
            assert start == len(data)
            return found
        assert fields[0] == len(found) + 1
        found.append((name, fields[1], data[start : start + fields[6]]))
        at = start + fields[6] + -fields[6] % 4


@given(
    data=st.binary(max_size=64),
    cuts=st.lists(st.tuples(st.integers(0, 64), st.integers(0, 64), st.booleans()), max_size=5),
    at=st.integers(-4, 300),
    length=st.integers(-4, 300),
)
def test_extents_are_the_bytes_put_together(
    data: bytes, cuts: list[tuple[int, int, bool]], at: int, length: int
) -> None:
    extents = [Extent(None if zero else offset, count) for offset, count, zero in cuts]
    try:
        reader = ExtentReader(BytesReader(data), extents)
    except FormatError:
        assert any(not zero and offset + count > len(data) for offset, count, zero in cuts)
        return
    whole = b"".join(bytes(e.length) if e.offset is None else data[e.offset : e.offset + e.length] for e in extents)
    assert read_all(reader) == b"".join(chunks(reader)) == whole
    if at >= 0 and length >= 0 and at + length <= len(whole):
        assert reader.read_at(at, length) == whole[at : at + length]
    else:
        with pytest.raises(FormatError):
            reader.read_at(at, length)
