"""PE images: the digest that edk2 measures, computed here a second time from first principles, and bent headers."""

from __future__ import annotations

import hashlib
import struct

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.formats.pe import authenticode, authenticode_ranges, parse_pe
from podvm_builder.formats.readers import BytesReader, Extent, ExtentReader
from podvm_builder.formats.uki import kernel_version, parse_uki
from tests.support.pe import Section, build_kernel, build_pe, build_uki

PLAIN = [Section(name=b".text", data=b"code" * 300), Section(name=b".data", data=b"data" * 10)]


def _sha256(data: bytes) -> bytes:
    return authenticode(BytesReader(data), ("sha256",))["sha256"]


def _without_checksum_and_directory(data: bytes, directory: int = 112) -> bytes:
    (pe,) = struct.unpack_from("<I", data, 0x3C)
    checksum = pe + 24 + 64
    entry = pe + 24 + directory + 32
    return data[:checksum] + data[checksum + 4 : entry] + data[entry + 8 :]


def test_a_file_without_gaps_is_hashed_whole_but_for_checksum_and_certificate_entry() -> None:
    data = build_pe(PLAIN)
    assert _sha256(data) == hashlib.sha256(_without_checksum_and_directory(data)).digest()


def test_pe32_has_its_directory_elsewhere() -> None:
    data = build_pe(PLAIN, plus=False)
    assert _sha256(data) == hashlib.sha256(_without_checksum_and_directory(data, 96)).digest()


def test_a_short_directory_has_no_certificate_entry_to_skip() -> None:
    data = build_pe(PLAIN, directories=4)
    (pe,) = struct.unpack_from("<I", data, 0x3C)
    checksum = pe + 24 + 64
    assert _sha256(data) == hashlib.sha256(data[:checksum] + data[checksum + 4 :]).digest()


def test_signing_does_not_change_the_digest_of_a_file_whose_length_is_a_multiple_of_8() -> None:
    signed = build_pe(PLAIN, certificate=b"certificate" * 8)
    assert _sha256(signed) == _sha256(build_pe(PLAIN))


def test_trailing_bytes_of_an_unsigned_file_are_hashed_and_not_padded() -> None:
    data = build_pe(PLAIN, trailing=b"tail!")
    assert len(data) % 8 == 5
    assert _sha256(data) == hashlib.sha256(_without_checksum_and_directory(data)).digest()


def test_after_a_gap_hashing_goes_on_from_the_running_sum() -> None:
    """The bytes hashed last begin where the sum of sizes says, inside the last section, as edk2 has it."""
    data = build_pe(PLAIN, gap=1024)
    image = parse_pe(BytesReader(data))
    done = image.size_of_headers + sum(section.raw_size for section in image.sections)
    assert authenticode_ranges(image)[-1] == (done, len(data) - done)
    rest = _without_checksum_and_directory(data[: image.size_of_headers])
    first = min(section.raw_offset for section in image.sections)
    assert _sha256(data) == hashlib.sha256(rest + data[first:] + data[done:]).digest()


def test_sections_are_hashed_in_the_order_of_the_file() -> None:
    data = build_pe(PLAIN)
    (pe,) = struct.unpack_from("<I", data, 0x3C)
    table = pe + 24 + 112 + 8 * 16
    swapped = data[:table] + data[table + 40 : table + 80] + data[table : table + 40] + data[table + 80 :]
    image = parse_pe(BytesReader(swapped))
    assert [section.name for section in image.sections] == [".data", ".text"]
    assert _sha256(swapped) == hashlib.sha256(_without_checksum_and_directory(swapped)).digest()


def test_several_algorithms_in_one_pass() -> None:
    data = build_pe(PLAIN)
    expected = _without_checksum_and_directory(data)
    digests = authenticode(BytesReader(data), ("sha1", "sha384", "sha512"))
    assert digests == {name: hashlib.new(name, expected).digest() for name in ("sha1", "sha384", "sha512")}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "DOS header"),
        (b"MZ" + bytes(62), "PE. signature"),
        (b"ELF!" * 64, "not a PE image"),
        (build_pe(PLAIN)[:300], "ends behind the end"),
        (build_pe(PLAIN, magic=0x107), "neither PE32 nor PE32"),
        (build_pe(PLAIN, size_of_headers=128), "SizeOfHeaders"),
        (build_pe([Section(name=b".text", data=b"x", raw_size=1 << 20)]), "ends behind the end of the file"),
        (build_pe([*PLAIN, Section(name=b".bss", virtual_address=0xFFFFF000, virtual_size=0x2000)]), "wraps around"),
        (build_pe([Section(name=b".a", data=b"x" * 600, raw_offset=0)]), "overlaps"),
        (
            build_pe([*PLAIN, Section(name=b".dup", raw_offset=512, raw_size=512)], size_of_headers=512),
            "overlaps",
        ),
        (build_pe([Section(name=b".s")] * 97), "97 sections"),
    ],
)
def test_what_has_no_one_meaning_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        authenticode(BytesReader(data), ("sha256",))
    assert caught.value.code == "PVB240"


def test_a_certificate_table_behind_the_end_is_refused() -> None:
    data = build_pe(PLAIN, certificate=b"c" * 64)
    with pytest.raises(FormatError, match="certificate table"):
        parse_pe(BytesReader(data[:-1]))


def test_uki_sections_are_those_in_memory() -> None:
    longer = Section(name=b".splash", data=b"abc", virtual_size=600)
    shorter = Section(name=b".dtb", data=b"0123456789", virtual_size=4)
    uki = parse_uki(BytesReader(build_uki(extra=[longer, shorter])))
    assert uki.text(".splash") == b"abc" + bytes(597)
    assert uki.text(".dtb") == b"0123"
    assert uki.text(".cmdline") == b"quiet root=/dev/sda"
    assert (uki.stub, uki.stub_version) == ("257.13-1~deb13u1", 257)
    assert uki.kernel_release == (6, 12)


def test_kernel_version_falls_back_to_the_uname_section() -> None:
    uki = parse_uki(BytesReader(build_uki(linux=build_pe(PLAIN))))
    assert uki.kernel == "6.12.1-test"
    assert kernel_version(BytesReader(build_kernel(b"5.10.0-x"))) == "5.10.0-x"


def test_what_the_stub_does_not_use_may_overlap() -> None:
    magic = next(one for one in parse_pe(BytesReader(build_uki())).sections if one.name == ".sdmagic")
    sbat = Section(name=b".sbat", data=b"sbat,1", virtual_address=magic.virtual_address - 4)
    assert parse_uki(BytesReader(build_uki(stub=b"252.39-1~deb12u2", extra=[sbat]))).stub_version == 252
    for stub in (b"254", b"257.13-1~deb13u1"):
        with pytest.raises(FormatError, match=r"`.sdmagic` overlaps"):
            parse_uki(BytesReader(build_uki(stub=stub, extra=[sbat])))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (build_pe(PLAIN), "no `.linux`"),
        (build_pe([Section(name=b".linux", data=b"k")], subsystem=11), "subsystem 11"),
        (build_uki(extra=[Section(name=b".osrel", data=b"again")]), "twice"),
        (build_uki(extra=[Section(name=b".splash", data=b"x", virtual_address=0x1000)]), "overlaps another one"),
        (build_pe([Section(name=b".linux", data=b"k")], size_of_image=16), "SizeOfImage"),
        (build_uki(extra=[Section(name=b".splash", data=b"x", virtual_size=300 << 20)]), "longer in memory"),
    ],
)
def test_an_unusable_uki_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        parse_uki(BytesReader(data))
    assert caught.value.code == "PVB241"


def test_a_file_of_4_gib_or_more_is_refused() -> None:
    reader = ExtentReader(BytesReader(build_kernel()), [Extent(0, 2048), Extent(None, (1 << 32) - 2048)])
    with pytest.raises(FormatError, match="below 4 GiB") as caught:
        parse_pe(reader)
    assert caught.value.code == "PVB240"
