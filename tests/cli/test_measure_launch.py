"""``measure snp`` and ``measure tdx`` as users run them."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podvm_builder.cli.app import run
from podvm_builder.formats.documents import measurements_from_json
from podvm_builder.formats.kernel_hashes import KernelHashes, hash_cmdline
from podvm_builder.measure.inputs import Cpu
from podvm_builder.measure.snp import launch_digest
from podvm_builder.measure.snp_launch import firmware_digest
from podvm_builder.measure.tdx import TWO_PASS, mrtd
from podvm_builder.measure.vmm import find_vmm
from tests.support import firmware as fw

SMALL = fw.Firmware(size=64 << 10, unique_pages=4)
CPU = Cpu.parse("EPYC-v4")
PROGRAM = (sys.executable, "-m", "podvm_builder")
TIMED = (sys.executable, "-X", "importtime", "-m", "podvm_builder")
APPEND = ("--append", b"x=\xff", "--format", "json")
HEAVY = {"pydantic", "yaml", "jinja2", "requests", "rich", "cryptography"}


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "OVMF.fd"
    path.write_bytes(SMALL.build())
    return path


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["measure", *arguments, "--format", "json"]) == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert measurements_from_json(value).target == ""
    return value


def test_the_document_of_snp(capsys: pytest.CaptureFixture[str], firmware: Path) -> None:
    found = document(capsys, "snp", "--firmware", str(firmware), "--vcpus", "1,3-4", "--cpu", "EPYC-v4")
    assert found["schema"] == "podvm-measurements/1"
    assert found["target"] is None
    assert found["identifies_image"]["value"] is False
    image = firmware.read_bytes()
    assert {m["variant"]["vcpus"]: m["value"] for m in found["measurements"]} == {
        count: launch_digest(image, cpu=CPU, vcpus=count).hex() for count in (1, 3, 4)
    }
    for measurement in found["measurements"]:
        assert measurement["register"] == "snp.launch_digest"
        assert measurement["status"] == "predicted"
        assert measurement["variant"]["firmware"] == f"sha256:{hashlib.sha256(image).hexdigest()}"
        assert measurement["variant"]["guest_features"] == "0x1"
        assert measurement["from"]["regions"] in found["regions"]


def test_a_kernel_its_initrd_and_its_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, firmware: Path
) -> None:
    kernel, initrd = tmp_path / "uki.efi", tmp_path / "initrd"
    kernel.write_bytes(b"MZ" + bytes(3 << 20))
    initrd.write_bytes(b"070701")
    append = "  root=/dev/vda quiet "
    found = document(
        capsys,
        *("snp", "--firmware", str(firmware), "--kernel", str(kernel), "--initrd", str(initrd), "--append", append),
    )
    hashes = KernelHashes(
        kernel=hashlib.sha256(kernel.read_bytes()).digest(),
        initrd=hashlib.sha256(b"070701").digest(),
        cmdline=hash_cmdline(append.encode()),
    )
    (measurement,) = found["measurements"]
    assert measurement["value"] == launch_digest(firmware.read_bytes(), cpu=CPU, kernel=hashes).hex()
    assert measurement["variant"]["boot"] == "direct"
    assert found["identifies_image"] == {
        "value": True,
        "by": ["snp.launch_digest"],
        "reason": found["identifies_image"]["reason"],
    }
    assert [basis["kind"] for basis in measurement["basis"]] == ["firmware", "image", "image"]


def test_a_command_line_that_is_not_utf_8(tmp_path: Path, firmware: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"kernel")
    done = subprocess.run(
        [*PROGRAM, "measure", "snp", "--firmware", firmware, "--kernel", kernel, *APPEND],
        capture_output=True,
        check=True,
    )
    (measurement,) = json.loads(done.stdout)["measurements"]
    hashes = KernelHashes(kernel=hashlib.sha256(b"kernel").digest(), cmdline=hash_cmdline(b"x=\xff"))
    assert measurement["value"] == launch_digest(firmware.read_bytes(), cpu=CPU, kernel=hashes).hex()


def test_everything_in_one_call(capsys: pytest.CaptureFixture[str], firmware: Path) -> None:
    found = document(
        capsys,
        *("snp", "--firmware", str(firmware), "--vcpus", "1-2", "--cpu", "EPYC-v4", "--cpu-sig", "0xa10f11"),
        *("--vmm", "qemu", "--vmm", "ec2@rdx-0", "--guest-features", "0x1", "--guest-features", "33"),
    )
    assert len(found["measurements"]) == 2 * 2 * 2 * 2
    image = firmware.read_bytes()
    for measurement in found["measurements"]:
        variant = measurement["variant"]
        cpu = CPU if variant["cpu"] == "EPYC-v4" else Cpu.of_signature(0xA10F11)
        vmm = find_vmm(f"{variant['vmm']}@{variant['vmm_revision']}")
        expected = launch_digest(
            image, cpu=cpu, vcpus=variant["vcpus"], vmm=vmm, guest_features=int(variant["guest_features"], 16)
        )
        assert measurement["value"] == expected.hex()


def test_a_seed_printed_and_given_back(capsys: pytest.CaptureFixture[str], firmware: Path) -> None:
    assert run(["measure", "snp", "--firmware", str(firmware), "--print-firmware-seed"]) == 0
    seed = capsys.readouterr().out.strip()
    assert seed == firmware_digest(firmware.read_bytes()).hex()
    found = document(capsys, "snp", "--firmware", str(firmware), "--firmware-seed", seed)
    assert found["measurements"][0]["value"] == launch_digest(firmware.read_bytes(), cpu=CPU).hex()
    assert run(["measure", "snp", "--firmware", str(firmware), "--print-firmware-seed", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"firmware_seed": seed}


def test_the_table_of_snp(capsys: pytest.CaptureFixture[str], firmware: Path) -> None:
    assert run(["measure", "snp", "--firmware", str(firmware), "--vcpus", "1-2"]) == 0
    out = capsys.readouterr().out
    digests = [launch_digest(firmware.read_bytes(), cpu=CPU, vcpus=count).hex() for count in (1, 2)]
    assert re.findall(r"^snp\.launch_digest  \d+ +([0-9a-f]{96})$", out, re.MULTILINE) == digests
    assert re.search(r"^cpu +EPYC-v4$", out, re.MULTILINE)
    assert out.splitlines()[-1].startswith("identifies the image: no (")


def test_unknown_table_entries_are_told(capsys: pytest.CaptureFixture[str], firmware: Path) -> None:
    guid = "0f0e0d0c-0b0a-0908-0706-050403020100"
    firmware.write_bytes(replace(SMALL, extra=((guid, b"x"),)).build())
    assert run(["measure", "snp", "--firmware", str(firmware), "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert guid in captured.err
    assert json.loads(captured.out)["measurements"]


def test_the_document_of_tdx(capsys: pytest.CaptureFixture[str], firmware: Path) -> None:
    found = document(capsys, "tdx", "--firmware", str(firmware), "--mrtd-order", "two-pass")
    rows = {m["register"]: m for m in found["measurements"]}
    assert set(rows) == {"tdx.mrtd", *(f"tdx.rtmr{index}" for index in range(4))}
    assert rows["tdx.mrtd"]["value"] == mrtd(firmware.read_bytes(), TWO_PASS).hex()
    assert rows["tdx.mrtd"]["variant"]["page_order"] == "two-pass"
    assert all(rows[f"tdx.rtmr{index}"]["value"] is None for index in range(4))
    assert found["identifies_image"]["value"] is False


def test_the_table_of_tdx(capsys: pytest.CaptureFixture[str], firmware: Path) -> None:
    assert run(["measure", "tdx", "--firmware", str(firmware)]) == 0
    out = capsys.readouterr().out
    assert mrtd(firmware.read_bytes()).hex() in out
    assert "tdx.rtmr3" in out
    assert "per-vm (" in out


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"", "PVB220", id="empty"),
        pytest.param(SMALL.build()[:-1], "PVB220", id="truncated"),
        pytest.param(SMALL.build()[:-4096], "PVB221", id="truncated-by-a-page"),
        pytest.param(bytes(8192), "PVB221", id="not-firmware"),
        pytest.param(bytes((16 << 20) + 4096), "PVB220", id="huge"),
        pytest.param(replace(SMALL, sev=None, with_tdx=False).build(), "PVB22[36]", id="no-metadata"),
    ],
)
@pytest.mark.parametrize("command", ["snp", "tdx"])
def test_bad_firmware(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, content: bytes, code: str
) -> None:
    path = tmp_path / "bad.fd"
    path.write_bytes(content)
    assert run(["measure", command, "--firmware", str(path), "--format", "json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.match(rf"error\[{code}\]: firmware: ", captured.err)
    assert f"--> {path}" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--vcpus", "0"], "PVB227"),
        (["--vcpus", "1-100000"], "PVB227"),
        (["--vcpus", "3-1"], "PVB227"),
        (["--cpu", "host"], "PVB228"),
        (["--cpu-sig", "x"], "PVB228"),
        (["--vmm", "hyperv"], "PVB229"),
        (["--vmm", "ec2@2019"], "PVB229"),
        (["--guest-features", "0x20"], "PVB230"),
        (["--firmware-seed", "00"], "PVB231"),
        (["--append", "quiet"], "PVB232"),
        (["--initrd", "x"], "PVB232"),
        (["--kernel", "/nonexistent"], "PVB320"),
        (["--kernel", "/"], "PVB320"),
        (["--unknown"], "PVB100"),
    ],
    ids=" ".join,
)
def test_bad_options(capsys: pytest.CaptureFixture[str], firmware: Path, arguments: list[str], code: str) -> None:
    assert run(["measure", "snp", "--firmware", str(firmware), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error[{code}]: ")


def test_a_command_line_with_a_nul(capsys: pytest.CaptureFixture[str], firmware: Path) -> None:
    assert run(["measure", "snp", "--firmware", str(firmware), "--kernel", str(firmware), "--append", "a\0b"]) == 2
    assert capsys.readouterr().err.startswith("error[PVB232]: ")


def test_firmware_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["measure", "tdx", "--firmware", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error[PVB320]: ")


def test_a_kernel_above_the_limit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, firmware: Path
) -> None:
    monkeypatch.setattr("podvm_builder.cli.launch_inputs._LIMIT", 1 << 20)
    kernel = tmp_path / "kernel"
    kernel.write_bytes(bytes((1 << 20) + 1))
    assert run(["measure", "snp", "--firmware", str(firmware), "--kernel", str(kernel)]) == 2
    assert capsys.readouterr().err.startswith("error[PVB232]: ")


@pytest.mark.parametrize("command", ["snp", "tdx"])
def test_nothing_heavy_is_imported(firmware: Path, command: str) -> None:
    done = subprocess.run(
        [*TIMED, "measure", command, "--firmware", str(firmware), "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {match.split(".")[0] for match in re.findall(r"^import time:.*\|\s+(\S+)$", done.stderr, re.MULTILINE)}
    assert "podvm_builder" in names
    assert names & HEAVY == set()


def test_the_group_lists_without_importing() -> None:
    done = subprocess.run(
        [*TIMED, "measure", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert {"image", "snp", "sev", "id-block", "tdx", "tpm"} <= set(listed)
    assert "podvm_builder.cli.measure_" not in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--firmware-seed", "ab" * 48],
        ["--vcpus", "2"],
        ["--cpu", "EPYC-v4"],
        ["--vmm", "ec2"],
        ["--append", "x"],
        ["--explain", "snp.launch_digest"],
    ],
)
def test_a_seed_comes_from_the_firmware_alone(
    capsys: pytest.CaptureFixture[str], firmware: Path, options: list[str]
) -> None:
    assert run(["measure", "snp", "--firmware", str(firmware), "--print-firmware-seed", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"error[PVB100]: `{options[0]}` with `--print-firmware-seed`" in captured.err
