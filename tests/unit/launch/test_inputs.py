"""vCPU lists, CPU models, guest features and VMM names as users write them."""

from __future__ import annotations

import pytest

from podvm_builder.catalog.cpus import SIGNATURES, cpu_signature
from podvm_builder.errors import InputError
from podvm_builder.measure.inputs import (
    Cpu,
    parse_cpu_signature,
    parse_firmware_seed,
    parse_guest_features,
    parse_vcpus,
)
from podvm_builder.measure.vmm import VMMS, find_vmm


@pytest.mark.parametrize(
    ("text", "counts"),
    [("1", (1,)), ("1,2,4-8", (1, 2, 4, 5, 6, 7, 8)), ("8,1-3,2", (1, 2, 3, 8)), (" 1 , 2", (1, 2)), ("5-5", (5,))],
)
def test_vcpu_lists(text: str, counts: tuple[int, ...]) -> None:
    assert parse_vcpus(text) == counts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0-3",
        "-1",
        "1-",
        "4-2",
        "1,,2",
        "a",
        "1.5",
        "0x4",
        "4097",
        "1-9999999",
        "9" * 5000,
        "١",
        "1_0",
        "+1",
        "²",
    ],
)
def test_vcpu_lists_that_cannot_be(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_vcpus(text)
    assert caught.value.code == "PVB227"


@pytest.mark.parametrize(
    ("text", "signature"),
    [
        ("EPYC-v4", 0x800F12),
        ("EPYC-Rome", 0x830F10),
        ("EPYC-Milan-v2", 0xA00F11),
        ("EPYC-Genoa", 0xA10F10),
        ("EPYC-Turin", 0xB00F00),
        ("25/17/1", 0xA10F11),
        ("6/15/1", 0x6F1),
    ],
)
def test_cpu_models(text: str, signature: int) -> None:
    assert Cpu.parse(text) == Cpu(name=text, signature=signature)


def test_a_signature_is_named_by_itself() -> None:
    assert (
        parse_cpu_signature("0xA10F11")
        == parse_cpu_signature(str(0xA10F11))
        == Cpu(name="0xa10f11", signature=0xA10F11)
    )


@pytest.mark.parametrize("text", ["EPYC-v9", "host", "", "25/17", "25/17/16", "300/1/1", "25/-1/1", "a/b/c", "25/١/1"])
def test_cpu_models_that_are_not_known(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Cpu.parse(text)
    assert caught.value.code == "PVB228"


def test_a_near_model_is_suggested() -> None:
    with pytest.raises(InputError) as caught:
        Cpu.parse("EPYC-milan")
    assert caught.value.hint == "did you mean `EPYC-Milan`?"


@pytest.mark.parametrize("text", ["0", "0x100000000", "", "0x", "1_0", "-1", " 1", "9" * 100])
def test_signatures_that_cannot_be(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_cpu_signature(text)
    assert caught.value.code == "PVB228"


@pytest.mark.parametrize("parts", [(271, 0, 0), (-1, 0, 0), (0, 256, 0), (0, 0, 16)])
def test_signature_parts_that_do_not_fit(parts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no CPU signature"):
        cpu_signature(*parts)


def test_every_signature_is_amds() -> None:
    assert {signature >> 8 & 0xF for signature in SIGNATURES.values()} == {0xF}


def test_guest_features() -> None:
    assert (parse_guest_features("0x21"), parse_guest_features("33")) == (0x21, 0x21)


@pytest.mark.parametrize("text", ["0", "0x20", "x", "0x1" + "0" * 16, "1e3"])
def test_guest_features_that_cannot_be(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_guest_features(text)
    assert caught.value.code == "PVB230"


def test_firmware_seeds() -> None:
    assert parse_firmware_seed("0A" * 48) == b"\x0a" * 48
    for text in ("", "0a" * 47, "zz" * 48, " " + "a" * 95):
        with pytest.raises(InputError):
            parse_firmware_seed(text)


def test_vmms_by_name_and_revision() -> None:
    assert {str(find_vmm(name)) for name in ("qemu", "ec2", "gce", "krun")} == {
        "qemu@sev-init2",
        "ec2@rdx-0x600",
        "gce@milan",
        "krun@virtee-sev",
    }
    assert [find_vmm(str(vmm)) for vmm in VMMS] == list(VMMS)
    assert len({str(vmm) for vmm in VMMS}) == len(VMMS)


@pytest.mark.parametrize("text", ["xen", "", "qemu@", "qemu@7", "@milan", "QEMU"])
def test_vmms_that_are_not_known(text: str) -> None:
    with pytest.raises(InputError) as caught:
        find_vmm(text)
    assert caught.value.code == "PVB229"
    assert caught.value.hint
