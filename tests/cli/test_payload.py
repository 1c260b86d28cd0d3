"""The command `payload`, on files."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from podvm_builder.cli.app import run

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
