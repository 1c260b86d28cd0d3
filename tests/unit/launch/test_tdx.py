"""MRTD: a published value, both page orders step by step, and the regions that it covers."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from podvm_builder.errors import FormatError, InputError
from podvm_builder.measure.tdx import ORDERS, SINGLE_PASS, TWO_PASS, measure_mrtd, mrtd
from tests.support import firmware as fw

SMALL = fw.Firmware(size=64 << 10, unique_pages=4)


def added(gpa: int) -> bytes:
    return b"MEM.PAGE.ADD".ljust(16, b"\0") + gpa.to_bytes(8, "little") + bytes(104)


def extended(gpa: int, page: bytes) -> bytes:
    return b"".join(
        b"MR.EXTEND".ljust(16, b"\0") + (gpa + i).to_bytes(8, "little") + bytes(104) + page[i : i + 256]
        for i in range(0, 4096, 256)
    )


def naive(image: bytes, sections: tuple[tuple[int, int, int, int, int, int], ...], order: str) -> bytes:
    stream = b""
    for offset, data_size, gpa, size, _, attributes in sections:
        pages = [
            (gpa + i, image[offset + i : offset + i + 4096] if data_size else bytes(4096)) for i in range(0, size, 4096)
        ]
        extends = [extended(*page) if attributes & 1 else b"" for page in pages]
        adds = [added(page[0]) for page in pages]
        if order == SINGLE_PASS:
            stream += b"".join(add + extend for add, extend in zip(adds, extends, strict=True))
        else:
            stream += b"".join(adds) + b"".join(extends)
    return hashlib.sha384(stream).digest()


def test_googles_example(vectors: Path) -> None:
    image = (vectors / "firmware" / "google-clean-example-2MiB.fd").read_bytes()
    assert mrtd(image).hex() == (
        "6e540be4917f24f74cc3292b59803d06dc7c38eb4a3c1fd6be9c735ba74bb7a23e25f98da94779d17508b243e4fb582b"
    )


EXTENDED_MEMORY = (*fw.ovmf_tdx_sections(64 << 10), (0, 0, 0x820000, 0x3000, fw.TEMP_MEM, 1))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sections", [fw.ovmf_tdx_sections(64 << 10), EXTENDED_MEMORY], ids=["ovmf", "extended-memory"])
def test_both_orders_step_by_step(sections: tuple[tuple[int, int, int, int, int, int], ...], order: str) -> None:
    image = replace(SMALL, tdx=sections).build()
    assert mrtd(image, order) == naive(image, sections, order)


def test_less_data_than_memory_is_computed_as_qemu_loads_it_and_marked() -> None:
    sections = (
        (0x2000, 0x1000, 0xFFFF2000, 0x3000, fw.BFV, 1),
        (0, 0, 0x809000, 0x2000, fw.TD_HOB, 0),
    )
    image = replace(SMALL, tdx=sections).build()
    assert mrtd(image) == naive(image, sections, SINGLE_PASS)
    measurements, _ = measure_mrtd(image)
    assert "as QEMU loads it" in (measurements[0].reason or "")


def test_both_orders_in_one_call() -> None:
    measurements, regions = measure_mrtd(SMALL.build(), orders=(TWO_PASS, SINGLE_PASS))
    assert [m.register for m in measurements] == ["tdx.mrtd"] * 2
    assert [m.variant["page_order"] for m in measurements] == [TWO_PASS, SINGLE_PASS]
    assert ["not yet seen on hardware" in str(m.reason) for m in measurements] == [True, False]
    assert measurements[0].value != measurements[1].value
    (listed,) = regions.values()
    assert [region.page_type for region in listed] == ["add+extend", "add", "add", "add", "add", "add"]


def test_firmware_without_metadata_is_refused() -> None:
    with pytest.raises(FormatError) as caught:
        mrtd(replace(SMALL, with_tdx=False).build())
    assert caught.value.code == "PVB226"


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        mrtd(SMALL.build(), "three-pass")
    assert caught.value.code == "PVB235"


def test_real_firmware_of_the_tools_tree(debian_ovmf: bytes) -> None:
    assert mrtd(debian_ovmf) != mrtd(debian_ovmf, TWO_PASS)
