"""IGVM files: reading, what is refused, and the SNP launch digest."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable

import pytest

from podvm_builder.errors import Finding, FormatError
from podvm_builder.formats.igvm import read_igvm
from podvm_builder.formats.igvm_values import SNP, PageData, SnpIdBlock, VpContext
from podvm_builder.measure.igvm import igvm_launch_digest, measure_igvm
from tests.support import igvm as w
from tests.support.igvm import IgvmWriter

EXAMPLE = "29cf740796345e676ed0712783ceed1cf759f0b74ecacc53a2c290bb98d1906252571b96dd7ec6e5d3dd4b72c0ef3b44"
"""Of :func:`tests.support.igvm.example`, computed by the Rust crate igvm 0.5.0 (`generate_snp_measurement`)."""
A = b"\x0a" * 4096


def small() -> IgvmWriter:
    return IgvmWriter().platform().policy().page(0x1000, A)


def fold(*pages: tuple[int, int, bytes | None]) -> bytes:
    """Return the digest of pages given as type, address and content."""
    digest = bytes(48)
    for kind, gpa, data in pages:
        content = bytes(48) if data is None else hashlib.sha384(data).digest()
        digest = hashlib.sha384(digest + content + struct.pack("<HB5xQ", 0x70, kind, gpa)).digest()
    return digest


@pytest.mark.parametrize("version", [1, 2])
def test_the_example_has_the_digest_that_the_igvm_crate_computes(version: int) -> None:
    assert igvm_launch_digest(w.example(version).build()).hex() == EXAMPLE


def test_the_example_page_by_page() -> None:
    one = b"\x01" * 4096
    assert igvm_launch_digest(w.example().build()) == fold(
        (1, 0x10000, one),
        (1, 0x11000, bytes(4096)),
        (4, 0x12000, None),
        (5, 0x13000, None),
        (6, 0x14000, None),
        (6, 0x15000, None),
        (1, 0x17000, one),
        *((4, gpa, None) for gpa in (0x20000, 0x21000, 0x22000)),
        (2, w.KVM_VMSA, w.vmsa()),
    )


def test_native_zero_pages() -> None:
    data = small().page(0x2000).build()
    assert igvm_launch_digest(data) == fold((1, 0x1000, A), (1, 0x2000, bytes(4096)))
    assert igvm_launch_digest(data, native_zero=True) == fold((1, 0x1000, A), (3, 0x2000, None))


def test_large_pages_are_measured_in_small_ones() -> None:
    content = b"".join(number.to_bytes(2, "little") * 2048 for number in range(512))
    data = IgvmWriter().platform().page(0x200000, content, flags=1).page(0x400000, flags=1).build()
    expected = [(1, 0x200000 + at, content[at : at + 4096]) for at in range(0, 2 << 20, 4096)]
    expected += [(1, 0x400000 + at, bytes(4096)) for at in range(0, 2 << 20, 4096)]
    assert igvm_launch_digest(data) == fold(*expected)


def test_what_is_read() -> None:
    found = read_igvm(w.example().id_block(bytes(48)).build())
    assert found.version == 1
    assert found.mask_of(SNP) == 1
    assert found.mask_of(3) is None
    assert [policy.policy for policy in found.policies] == [0x30000]
    assert sum(isinstance(directive, PageData) for directive in found.directives) == 9
    assert [d.index for d in found.directives if isinstance(d, VpContext)] == [0]
    assert [d.launch_digest for d in found.directives if isinstance(d, SnpIdBlock)] == [bytes(48)]


def test_optional_headers_are_ignored_and_listed() -> None:
    data = small().header(w.OPTIONAL | 0x3F0, b"new").header(w.OPTIONAL | 0x3F0, b"again").build()
    assert read_igvm(data).ignored == (0x3F0,)
    assert igvm_launch_digest(data) == igvm_launch_digest(small().build())


def test_a_known_header_counts_whether_it_is_optional_or_not() -> None:
    payload = struct.pack("<QIIIHH", 0x2000, 1, 0, 0, 0, 0)
    data = small().header(w.OPTIONAL | w.PAGE, payload).build()
    assert igvm_launch_digest(data) == igvm_launch_digest(small().page(0x2000).build())


def test_contexts_of_other_platforms_are_left_out() -> None:
    data = small().build()
    writer = IgvmWriter().platform().platform(kind=1, mask=2).policy().page(0x1000, A)
    writer.context(b"vsm registers", gpa=0, mask=2)
    assert igvm_launch_digest(writer.build()) == igvm_launch_digest(data)


def changed(at: int, value: bytes) -> bytes:
    data = bytearray(small().build())
    data[at : at + len(value)] = value
    return bytes(data)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "shorter"),
    "magic": (lambda: changed(0, b"IGVN"), "`IGVM`"),
    "version": (lambda: changed(4, b"\3"), "version 3"),
    "short-v2": (lambda: changed(4, b"\2")[:28], "shorter"),
    "total": (lambda: small().build() + b"x", "says"),
    "cut": (lambda: small().build()[:-1], "says"),
    "checksum": (lambda: changed(40, b"\xff"), "checksum"),
    "start": (lambda: IgvmWriter(fixed={"start": 28}).platform().build(), "variable headers cannot lie"),
    "size": (lambda: IgvmWriter(fixed={"size": 1 << 31}).platform().build(), "variable headers cannot lie"),
    "aarch64": (lambda: IgvmWriter(version=2, fixed={"architecture": 1}).platform().build(), "x86-64"),
    "page-size": (lambda: IgvmWriter(version=2, fixed={"page_size": 65536}).platform().build(), "65536"),
    "unknown": (lambda: small().header(0x3F0, b"").build(), "not optional"),
    "unknown-range": (lambda: small().header(0x500, b"").build(), "not optional"),
    "order": (lambda: small().policy().build(), "initialization header after the first directive"),
    "length": (lambda: small().header(w.PAGE, b"x" * 8).build(), "not 24"),
    "id-length": (lambda: small().header(w.ID_BLOCK, bytes(8)).build(), "ID block"),
    "two-bits": (lambda: IgvmWriter().platform(mask=3).build(), "one bit"),
    "same-mask": (lambda: IgvmWriter().platform().platform(kind=0).build(), "one bit"),
    "platform-twice": (lambda: IgvmWriter().platform().platform(mask=2).build(), "twice"),
    "unaligned": (lambda: small().page(0x2001).build(), "aligned"),
    "unaligned-2m": (lambda: small().page(0x2000, flags=1).build(), "aligned"),
    "wraps": (lambda: small().page((1 << 64) - 4096).build(), "52 bits"),
    "page-flags": (lambda: small().page(0x2000, flags=8).build(), "flags"),
    "page-type": (lambda: small().page(0x2000, kind=4).build(), "type 4"),
    "twice": (lambda: small().page(0x1000).build(), "added twice"),
    "no-area": (lambda: small().insert(0x2000).build(), "not there"),
    "area-twice": (lambda: small().area(0x1000).area(0x1000).build(), "area 0 twice"),
    "area-reused": (lambda: small().area(0x1000).insert(0x2000).insert(0x3000).build(), "inserted before"),
    "area-huge": (lambda: small().area(1 << 63).build(), "parameter area of"),
    "area-odd": (lambda: small().area(100).build(), "parameter area of"),
    "too-much": (
        lambda: [writer := small(), *(writer.page(i << 21, flags=1) for i in range(1, 514))][0].build(),
        "MiB",
    ),
    "no-snp": (lambda: IgvmWriter().platform(kind=3).page(0x1000, A).build(), "SNP"),
    "nothing": (lambda: IgvmWriter().platform().build(), "nothing"),
    "data-outside": (
        lambda: small().header(w.PAGE, struct.pack("<QIIIHH", 0x2000, 1, 1 << 30, 0, 0, 0)).build(),
        "not in the file's data",
    ),
    "data-in-headers": (
        lambda: small().header(w.PAGE, struct.pack("<QIIIHH", 0x2000, 1, 8, 0, 0, 0)).build(),
        "not in the file's data",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(FormatError, match=words) as caught:
        igvm_launch_digest(make())
    assert caught.value.code == "PVB236"


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        pytest.param(12, 24 + 4, "cut short", id="cut-short"),
        pytest.param(24 + 4, 17, "leaves the headers", id="too-long"),
        pytest.param(24 + 4, 0xFFFF_FFFF, "leaves the headers", id="huge"),
    ],
)
def test_lengths_that_do_not_fit(at: int, value: int, words: str) -> None:
    data = bytearray(IgvmWriter().platform().build())  # 24 bytes of fixed header, 24 of the platform's, 8 of data
    struct.pack_into("<I", data, at, value)
    (size,) = struct.unpack_from("<I", data, 12)
    struct.pack_into("<I", data, 20, 0)
    struct.pack_into("<I", data, 20, zlib.crc32(data[: 24 + size]))
    with pytest.raises(FormatError, match=words):
        read_igvm(bytes(data))


@pytest.mark.parametrize(
    ("writer", "words"),
    [
        pytest.param(small(), "0 VMSA pages", id="none"),
        pytest.param(small().context(w.vmsa()).context(w.vmsa(), index=1), "2 VMSA pages", id="two"),
        pytest.param(small().context(w.vmsa()).page(0x2000), "not the last", id="not-last"),
        pytest.param(small().area(0x1000).context(w.vmsa()).insert(0x2000), "not the last", id="parameters-after"),
        pytest.param(small().context(w.vmsa(), gpa=0x9000), "0xfffffffff000", id="address"),
        pytest.param(small().context(w.vmsa(cr0=0x11)), "CR0 in the VMSA is 0x11", id="cr0"),
    ],
)
def test_kvm_would_measure_something_else(writer: IgvmWriter, words: str) -> None:
    measure_igvm(writer.build())
    with pytest.raises(Finding, match=words) as caught:
        measure_igvm(writer.build(), check_kvm=True)
    assert caught.value.code == "PVB237"


@pytest.mark.parametrize("cr0", [0x30, 0x31])
def test_kvm_measures_what_the_file_says(cr0: int) -> None:
    writer = small().context(w.vmsa(cr0=cr0))
    writer.id_block(igvm_launch_digest(writer.build()))
    (measurement,), _ = measure_igvm(writer.build(), check_kvm=True)
    assert measurement.value == igvm_launch_digest(writer.build())


def test_an_id_block_for_another_digest() -> None:
    data = small().id_block(b"\x01" * 48).build()
    with pytest.raises(Finding, match="01" * 48) as caught:
        measure_igvm(data)
    assert igvm_launch_digest(data).hex() in caught.value.message


def test_an_id_block_of_another_platform_is_not_compared() -> None:
    writer = IgvmWriter().platform().platform(kind=0, mask=2).page(0x1000, A).id_block(bytes(48), mask=2)
    measure_igvm(writer.build(), check_kvm=False)


def test_regions_fold_to_the_digest() -> None:
    data = w.example().build()
    (measurement,), regions = measure_igvm(data)
    assert measurement.variant["igvm"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert measurement.variant["zero_pages"] == "normal"
    (listed,) = regions.values()
    assert [(r.source, r.gpa, r.length, r.page_type) for r in listed] == [
        ("page data", 0x10000, 0x2000, "normal"),
        ("page data", 0x12000, 0x1000, "unmeasured"),
        ("page data", 0x13000, 0x1000, "secrets"),
        ("page data", 0x14000, 0x2000, "cpuid"),
        ("page data", 0x17000, 0x1000, "normal"),
        ("parameters", 0x20000, 0x3000, "unmeasured"),
        ("VMSA of vCPU 0", w.KVM_VMSA, 0x1000, "vmsa"),
    ]
    assert listed[0].digest == hashlib.sha384(b"\x01" * 4096 + bytes(4096)).digest()
    assert listed[1].digest is None
