"""A build's output folder: what `boot` says of one that is not whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from podvm_builder.boot.folder import read_folder, write_result
from podvm_builder.cli.boot import command
from podvm_builder.errors import FormatError, InputError


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        read_folder(tmp_path / "absent")


@pytest.mark.parametrize("name", ["image.raw", "manifest.json"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    if name != "image.raw":
        (tmp_path / "image.raw").touch()
    with pytest.raises(InputError, match=f"has no `{name}`") as raised:
        read_folder(tmp_path)
    assert raised.value.code == "PVB500"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "podvm-manifest/9"}', "[" * 100_000])
def test_a_manifest_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "image.raw").touch()
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(FormatError) as raised:
        read_folder(tmp_path)
    assert raised.value.code == "PVB500"
    assert raised.value.place is not None
    assert raised.value.place.file == str(tmp_path / "manifest.json")


def test_the_result_is_written_beside_the_image(tmp_path: Path) -> None:
    write_result(tmp_path, {"schema": "podvm-boot/1"}, "[    0.000] line\n", "<svg/>\n")
    assert json.loads((tmp_path / "boot" / "result.json").read_text()) == {"schema": "podvm-boot/1"}
    assert (tmp_path / "boot" / "serial.log").read_text() == "[    0.000] line\n"
    assert (tmp_path / "boot" / "timeline.svg").read_text() == "<svg/>\n"


@pytest.mark.parametrize("state", ["off", "on"])
def test_machines_that_cannot_be_booted_are_refused_before_anything_is_read(tmp_path: Path, state: str) -> None:
    result = CliRunner().invoke(command, [str(tmp_path), "--secure-boot", state, "--firmware", "ovmf-amdsev"])
    assert isinstance(result.exception, InputError)
    assert result.exception.code == "PVB501"
    assert "has no variable store" in result.exception.message


@pytest.mark.parametrize("pair", ["opt/x", "x=y", "opt/=y", "opt/a b=y", "etc/x=y", f"opt/{'n' * 60}=y"])
def test_fw_cfg_files_that_qemu_would_not_take(tmp_path: Path, pair: str) -> None:
    result = CliRunner().invoke(command, [str(tmp_path), "--fw-cfg", pair])
    assert result.exit_code == 2
    assert "is not NAME=TEXT" in result.output


@pytest.mark.parametrize("size", ["0", "511M", "2T", "2048.5M", "-1", "9999999G", "many"])
def test_memory_that_is_none(tmp_path: Path, size: str) -> None:
    result = CliRunner().invoke(command, [str(tmp_path), f"--memory={size}"])
    assert result.exit_code == 2
    assert "is not a memory size from 512M" in result.output
