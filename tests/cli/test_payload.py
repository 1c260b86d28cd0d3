"""The command `payload`, on files."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from podvm_builder.cli.app import run
from podvm_builder.guest.components import COMPONENTS

TARGET = "debian-13/snp/libvirt"


def test_tar_and_image_hold_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, oci = tmp_path / "podvm.tar", tmp_path / "oci"
    for _ in range(2):  # the second time over the first
        assert run(["payload", TARGET, "-o", str(out), "--oci", str(oci), "--format", "json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"target": TARGET, "tar": str(out), "oci": str(oci)}
    with tarfile.open(out) as archive:
        assert "podvm/setup.sh" in archive.getnames()
    assert out.read_bytes() in [path.read_bytes() for path in (oci / "blobs/sha256").iterdir()]


@pytest.mark.parametrize("arguments", [[TARGET], ["acme.yaml", "-o", "x.tar"], [TARGET, "--oci", "full"]])
def test_what_cannot_be_written(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme.yaml").write_text("schema: 1\ndistro: debian-13\ntee: snp\ncloud: [libvirt, aws]\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    assert run(["payload", *arguments]) == 2
    assert "PVB424" in capsys.readouterr().err
    assert not (tmp_path / "x.tar").exists() and [path.name for path in (tmp_path / "full").iterdir()] == ["file"]


def components(folder: Path) -> Path:
    folder.mkdir()
    for component in COMPONENTS:
        (folder / component.name).write_text("#!/bin/sh\n")
    return folder


def test_a_component_that_is_no_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = components(tmp_path / "parts")
    (folder / "kata-agent").write_text("Not found\n")
    assert run(["payload", TARGET, "--components", str(folder), "-o", str(tmp_path / "x.tar")]) == 2
    assert "PVB744" in capsys.readouterr().err
    assert not (tmp_path / "x.tar").exists()


def test_a_profile_cannot_take_a_component_from_outside_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "repository"
    base.mkdir()
    program = components(base / "parts") / "kata-agent"
    profile = base / "acme.yaml"
    profile.write_text("schema: 1\ndistro: debian-13\ntee: snp\ncloud: libvirt\ncomponents: parts\n")
    arguments = ["payload", str(profile), "-o", str(tmp_path / "x.tar")]
    assert run(arguments) == 0
    program.rename(tmp_path / "outside")
    program.symlink_to(tmp_path / "outside")
    assert run(arguments) == 2
    assert "PVB113" in capsys.readouterr().err
    # on the command line, the one who types decides
    assert run([*arguments, "--components", str(base / "parts")]) == 0
