"""``measure tpm`` and ``measure image`` as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.cli.app import run
from podvm_builder.formats.documents import parse_measurements
from tests.support.fake_tree import make_fake_tree
from tests.support.firmware import Firmware
from tests.support.manifests import QEMU, build, evidence, write_folder
from tests.support.pe import build_uki
from tests.support.trees import build_squashfs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    said = evidence("snp", "snp.launch_digest")
    write_folder(tmp_path, *build("debian-13/snp/libvirt", QEMU, said, root=build_squashfs({"etc/x": b""})))
    (tmp_path / "firmware.fd").write_bytes(Firmware(size=1 << 16, unique_pages=4).build())
    return tmp_path


def test_tpm_of_an_image_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure", "tpm", "--image", str(folder / "image.raw"), "--bank", "sha256", "--format", "json"]) == 0
    found = parse_measurements(capsys.readouterr().out.encode())
    assert [row.register for row in found.measurements] == [f"tpm.pcr{pcr:02d}" for pcr in range(16)]
    assert (found.evidence, found.identifies_image.value) == ("tpm", True)
    assert any(event.subject == "partition table" for event in found.logs["disk"])


def test_tpm_of_a_uki_as_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure", "tpm", "--uki", str(folder / "image.efi"), "--secure-boot", "off"]) == 0
    out = capsys.readouterr().out
    assert "tpm.pcr05  sha1,sha256,sha384  -            not-computed" in out
    assert "65caf8dd1e0ea7a6347b635d2b379c93b9a1351edc2afc3ecda700e534eb3068" in out
    assert "identifies the image: yes (by tpm.pcr04, tpm.pcr11, tpm.pcr12" in out


def test_image_with_its_firmware(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure", "image", str(folder), "--firmware", str(folder / "firmware.fd"), "--format", "json"]) == 0
    found = parse_measurements(capsys.readouterr().out.encode())
    assert found.identifies_image.by == ("snp.launch_digest",)
    assert found.ids == {"rootfs": "aa" * 32, "image": "bb" * 32, "plan": "cc" * 32}


def test_image_without_its_firmware(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure", "image", str(folder), "--cache", str(tmp_path / "cache")]) == 0
    captured = capsys.readouterr()
    assert "not-computed (firmware `test` is not at hand)" in captured.out
    assert "identifies the image: no" in captured.out
    assert "no firmware of the catalogue" in captured.err


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["tpm"], "PVB248"),
        (["tpm", "--image", "image.raw", "--uki", "image.efi"], "PVB248"),
        (["tpm", "--uki", "image.raw"], "PVB248"),
        (["tpm", "--image", "image.efi"], "PVB248"),
        (["tpm", "--uki", "manifest.json"], "PVB241"),
        (["tpm", "--image", "image.raw", "--secure-boot", "on"], "PVB246"),
        (["tpm", "--image", "image.raw", "--phase", "a", "--phase", "a"], "PVB248"),
        (["tpm", "--image", "missing"], "PVB320"),
        (["tpm", "--image", "manifest.json"], "PVB242"),
        (["tpm", "--image", "image.raw", "--bank", "md5"], "PVB100"),
        (["image", "missing"], "PVB500"),
        (["image", "."], "PVB500"),
    ],
)
def test_bad_input(
    folder: Path, args: list[str], code: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    if args == ["image", "."]:
        (folder / "image.efi").unlink()
    assert run(["measure", *args]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"error[{code}]" in captured.err


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, json.dumps({"schema": "podvm-manifest/9"})])
def test_a_damaged_manifest(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    assert run(["measure", "image", str(folder)]) == 2
    assert "error[PVB500]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ("--uki", "image.raw", "hint: give it with `--image`"),
        ("--image", "image.efi", "hint: give a UKI with `--uki`"),
        ("--uki", "manifest.json", "no UKI: it is not an EFI application"),
    ],
)
def test_a_disk_and_a_uki_are_told_apart(
    folder: Path, option: str, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    firmware = ["--firmware", str(folder / "firmware.fd")]
    for command in (["tpm"], ["tdx", *firmware]):
        assert run(["measure", *command, option, str(folder / name)]) == 2
        assert words in capsys.readouterr().err


def test_both_commands_that_take_a_folder_say_the_same_of_none(capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for command in (["measure", "image"], ["boot"]):
        assert run([*command, "/nonexistent"]) == 2
        said.append(capsys.readouterr().err)
    assert said[0] == said[1]
    assert said[0].startswith("error[PVB500]: `/nonexistent` is not a folder\nhint: give the folder that ")


def test_firmware_is_not_fetched(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_fake_tree(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["platform"]["firmware"] = "ovmf-amdsev"
    manifest["tools"]["spec"] = catalogue().tools.id
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert run(["measure", "image", str(folder), "--cache", str(tmp_path)]) == 0
    err = capsys.readouterr().err
    assert "`ovmf-amdsev` is not at hand: it was not fetched before; --firmware FILE gives it" in err


def test_file_names_cannot_reach_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.support.disk import ESP, build_disk, build_fat

    files = {"EFI/BOOT/BOOTX64.EFI": build_uki(stub=b"256"), "loader/credentials/\x1b[31m.cred": b"x"}
    disk = tmp_path / "disk.raw"
    disk.write_bytes(build_disk([(ESP, build_fat(files, bits=12, cluster=4))]))
    assert run(["measure", "tpm", "--image", str(disk)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[31m.cred" in out


def test_a_file_that_is_no_firmware_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    garbage = folder / "garbage"
    garbage.write_bytes(bytes(8192))
    assert run(["measure", "image", str(folder), "--firmware", str(garbage)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error[PVB22" in captured.err
    assert str(garbage) in captured.err


def test_no_file_is_read_because_a_manifest_names_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "manifest.json"
    document = json.loads(path.read_bytes())
    document["platform"]["firmware"] = str(folder / "firmware.fd")
    path.write_text(json.dumps(document))
    assert run(["measure", "image", str(folder), "--cache", str(tmp_path / "cache")]) == 0
    captured = capsys.readouterr()
    assert "no file is read because a manifest names it" in captured.err
    assert "snp.launch_digest  not-computed" in captured.out
