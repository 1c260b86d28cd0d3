"""``measure tdx`` as users run it: what each option does, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from podvm_builder.cli.app import run
from podvm_builder.formats.documents import measurements_from_json
from podvm_builder.measure.rtmr import fold
from podvm_builder.model.measurement import MeasurementSet
from tests.support import acpi
from tests.support import firmware as fw
from tests.support.disk import ESP, build_disk, build_fat
from tests.support.pe import Section, build_kernel, build_pe, build_uki
from tests.support.real_firmware import debian_ovmf
from tests.support.varstore import build_store

SIZE = 1 << 20
VOLUME = SIZE // 8 & ~0xFFF
LAYOUT = ("--ovmf-layout", "edk2-202411")
ABSENT = ("--secure-boot", "absent")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with one of everything."""
    image = fw.Firmware(size=SIZE, unique_pages=4).build()
    kernel = bytearray(build_kernel(body=bytes(8192)))
    uki = build_uki()
    content = {
        "OVMF.fd": build_store([], size=VOLUME) + image[VOLUME:],
        "tables": acpi.blob(cpus=2),
        "tpm-tables": acpi.blob([acpi.table(b"TPM2", bytes(40))]),
        "loader": b"\1".ljust(4096, b"\0"),
        "uki.efi": uki,
        "image.raw": build_disk([(ESP, build_fat({"EFI/BOOT/BOOTX64.EFI": uki}, bits=12, cluster=4))]),
        "kernel": bytes(kernel),
        "initrd": b"070701",
        "store": build_store([], size=VOLUME),
        "grub.raw": build_disk(
            [
                (
                    ESP,
                    build_fat(
                        {
                            "EFI/BOOT/BOOTX64.EFI": build_pe(
                                [
                                    Section(name=b".text", data=b"code"),
                                    Section(name=b".sbat", data=b"sbat,1,S,sbat,1,u\ngrub,4,F,grub,2,u\n"),
                                ]
                            )
                        },
                        bits=12,
                        cluster=4,
                    ),
                )
            ]
        ),
    }
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def measure(capsys: pytest.CaptureFixture[str], files: Path, *arguments: str) -> MeasurementSet:
    words = [str(files / word[1:]) if word.startswith("@") else word for word in arguments]
    assert run(["measure", "tdx", "--firmware", str(files / "OVMF.fd"), *words, "--format", "json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    found = measurements_from_json(document)
    for row in found.measurements:
        if row.origin is not None and row.origin[0] == "log":
            assert fold(found.logs[row.origin[1]], int(row.register[-1])) == row.value
    return found


def rows(found: MeasurementSet, register: str) -> list[Any]:
    return [row for row in found.measurements if row.register == register]


def test_ram_and_tables_give_rtmr_0(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    found = measure(capsys, files, *LAYOUT, *ABSENT, "--memory", "2048M", "--vcpus", "2", "--acpi-tables", "@tables")
    (row,) = rows(found, "tdx.rtmr0")
    assert row.value is not None
    tables = hashlib.sha256(acpi.blob(cpus=2)).hexdigest()
    assert row.variant == {
        "firmware": row.variant["firmware"],
        "boot": "direct",
        "secure_boot": "absent",
        "layout": "edk2-202411",
        "memory": "2048M",
        "vcpus": 2,
        "acpi_tables": f"sha256:{tables}",
    }
    assert [bool(rows(found, f"tdx.rtmr{number}")[0].value) for number in range(4)] == [True, False, False, False]
    assert not found.identifies_image.value


def test_several_sizes_without_tables(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    found = measure(capsys, files, *LAYOUT, *ABSENT, "--memory", "2G", "--memory", "2048", "--memory", "8G")
    assert [row.variant["memory"] for row in rows(found, "tdx.rtmr0")] == ["2048M", "8192M"]
    assert {str(row.status) for row in rows(found, "tdx.rtmr0")} == {"platform"}


@pytest.mark.parametrize(
    ("arguments", "boot"),
    [
        (("--image", "@image.raw"), "disk"),
        (("--image", "@image.raw", "--boot", "direct"), "direct"),
        (("--uki", "@uki.efi"), "direct"),
        (("--kernel", "@uki.efi"), "direct"),
    ],
)
def test_an_image_is_identified(
    capsys: pytest.CaptureFixture[str], files: Path, arguments: tuple[str, ...], boot: str
) -> None:
    found = measure(capsys, files, *LAYOUT, *arguments)
    assert found.identifies_image.by == ("tdx.rtmr1", "tdx.rtmr2")
    for register in ("tdx.rtmr1", "tdx.rtmr2"):
        (row,) = rows(found, register)
        assert (row.value is not None, row.variant["boot"]) == (True, boot)
        assert {basis.kind for basis in row.basis} == {"image"}
    # nobody said whether secure boot is compiled in, and that decides RTMR 0 alone
    assert "--secure-boot" in str(rows(found, "tdx.rtmr0")[0].reason)


def test_the_same_uki_gives_the_same_registers_however_it_is_named(
    capsys: pytest.CaptureFixture[str], files: Path
) -> None:
    ways = (("--image", "@image.raw", "--boot", "direct"), ("--uki", "@uki.efi"), ("--kernel", "@uki.efi"))
    values = {
        tuple(rows(measure(capsys, files, *LAYOUT, *way), f"tdx.rtmr{number}")[0].value for number in (1, 2))
        for way in ways
    }
    assert len(values) == 1


def test_a_kernel_with_initrd_and_command_line(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    kernel = ("--kernel", "@kernel", "--initrd", "@initrd", "--append", "quiet", "--kernel-header", "file")
    found = measure(capsys, files, *LAYOUT, *kernel)
    (one,), (two,) = rows(found, "tdx.rtmr1"), rows(found, "tdx.rtmr2")
    assert one.variant["kernel_header"] == "file"
    assert (len(one.basis), len(two.basis)) == (1, 2)
    log = found.logs["tdx-direct"]
    line = next(event for event in log if event.subject == "command line")
    assert line.digests["sha384"] == hashlib.sha384("quiet initrd=initrd\0".encode("utf-16-le")).digest()


def test_which_bytes_of_a_kernel_are_loaded_must_be_known(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    found = measure(capsys, files, *LAYOUT, "--kernel", "@kernel")
    assert "--kernel-header" in str(rows(found, "tdx.rtmr1")[0].reason)
    newest = measure(capsys, files, "--ovmf-layout", "edk2-202505", "--kernel", "@kernel")
    assert rows(newest, "tdx.rtmr1")[0].variant["kernel_header"] == "file"


def test_an_unknown_firmware_is_named(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    found = measure(capsys, files, *ABSENT, "--uki", "@uki.efi")
    digest = hashlib.sha256((files / "OVMF.fd").read_bytes()).hexdigest()
    for register, status in (("tdx.rtmr0", "platform"), ("tdx.rtmr1", "unpredictable")):
        (row,) = rows(found, register)
        assert (str(row.status), digest in str(row.reason)) == (status, True)
    assert rows(found, "tdx.rtmr2")[0].value is not None
    assert not found.identifies_image.value


def test_an_image_with_grub(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    found = measure(capsys, files, *LAYOUT, *ABSENT, "--image", "@grub.raw")
    for register in ("tdx.rtmr0", "tdx.rtmr1", "tdx.rtmr2"):
        assert "GRUB" in str(rows(found, register)[0].reason)


def test_explaining_a_register(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    firmware, uki = str(files / "OVMF.fd"), str(files / "uki.efi")
    assert run(["measure", "tdx", "--firmware", firmware, *LAYOUT, "--uki", uki, "--explain", "tdx.rtmr2"]) == 0
    out = capsys.readouterr().out
    assert "section .linux" in out
    assert "initrd" in out


def test_the_published_value_through_the_command(
    capsys: pytest.CaptureFixture[str], vectors: Path, tmp_path: Path
) -> None:
    (tmp_path / "OVMF.fd").write_bytes(debian_ovmf().read_bytes())
    tables = vectors / "tdx" / "acpi-canonical-2048m.bin"
    found = measure(capsys, tmp_path, "--memory", "2048M", "--vcpus", "4", "--acpi-tables", str(tables))
    (row,) = rows(found, "tdx.rtmr0")
    if row.variant.get("layout") is None:
        pytest.skip("another build of OVMF than the published value's")
    assert row.value.hex() == (
        "e1cf95c7fedaa78087b3eb237148869f804642b7939d59c8825db269ffadf190d4a7fd4f44d9b10ba7ff44c12dd564f5"
    )


TABLES = ("--acpi-tables", "@tables")
REFUSED = [
    (("--image", "@image.raw", "--uki", "@uki.efi"), "PVB216"),
    (("--uki", "@image.raw"), "PVB216"),
    (("--initrd", "@initrd"), "PVB216"),
    (("--append", "quiet"), "PVB216"),
    (("--kernel-header", "file"), "PVB216"),
    (("--kernel", "@kernel", "--boot", "disk"), "PVB216"),
    (("--kernel", "@uki.efi", "--append", "quiet"), "PVB216"),
    (("--kernel", "@uki.efi", "--initrd", "@initrd"), "PVB216"),
    (("--kernel", "@kernel", "--append", "\udce9" * 10, "--kernel-header", "file", "--memory", "0"), "PVB214"),
    ((*TABLES,), "PVB216"),
    ((*TABLES, "--memory", "2G", "--memory", "4G"), "PVB216"),
    ((*TABLES, "--memory", "2G", "--vcpus", "3"), "PVB216"),
    ((*TABLES, "--memory", "2G", "--acpi-from-qemu", "--vcpus", "2"), "PVB216"),
    (("--acpi-loader", "@loader", "--memory", "2G"), "PVB216"),
    ((*TABLES, "--memory", "2G", "--acpi-loader", "@initrd"), "PVB211"),
    ((*TABLES, "--memory", "2G", "--acpi-rsdp", "@initrd"), "PVB211"),
    (("--acpi-tables", "@tpm-tables", "--memory", "2G"), "PVB211"),
    (("--acpi-tables", "@initrd", "--memory", "2G"), "PVB211"),
    (("--acpi-from-qemu", "--memory", "2G"), "PVB216"),
    (("--acpi-from-qemu", "--vcpus", "2"), "PVB216"),
    (("--vcpus", "2"), "PVB216"),
    (("--qemu", "qemu"), "PVB216"),
    (("--qemu-arg", "-device x"), "PVB216"),
    (("--cpu", "qemu64"), "PVB216"),
    (("--phys-bits", "46"), "PVB216"),
    (("--cache", "@."), "PVB216"),
    (("--acpi-from-qemu", "--memory", "2G", "--vcpus", "2", "--qemu", "q", "--cache", "@."), "PVB216"),
    (("--acpi-from-qemu", "--memory", "2G", "--vcpus", "2", "--qemu", "q", "--qemu-arg", "'"), "PVB216"),
    (("--acpi-from-qemu", "--memory", "2G", "--vcpus", "2", "--qemu", "q", "--qemu-arg", "-kernel x"), "PVB216"),
    (("--memory", "3"), "PVB214"),
    (("--memory", "2047.5M"), "PVB214"),
    (("--memory", "12345K"), "PVB214"),
    (("--memory", "65T"), "PVB214"),
    (("--secure-boot", "on"), "PVB246"),
    (("--vars", "@initrd"), "PVB215"),
    (("--ovmf-layout", "L1"), "PVB100"),
    (("--vcpus", "0", "--memory", "2G"), "PVB100"),
]


@pytest.mark.parametrize(("arguments", "code"), REFUSED)
def test_what_cannot_be_honoured_is_refused(
    capsys: pytest.CaptureFixture[str], files: Path, arguments: tuple[str, ...], code: str
) -> None:
    words = [str(files / word[1:]) if word.startswith("@") else word for word in arguments]
    assert run(["measure", "tdx", "--firmware", str(files / "OVMF.fd"), *LAYOUT, *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"error[{code}]" in captured.err
