"""Scratch storage on a disk that a cloud has made larger: encrypted with integrity, and PCR 5 as predicted."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from podvm_builder.boot import userdata
from podvm_builder.cli.app import run


@pytest.mark.e2e
def test_free_space_is_taken_and_no_measured_byte_changes(
    built_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(built_image, tmp_path / "image")
    os.truncate(folder / "image.raw", 2 << 30)
    files = {**userdata.DEFAULT_FILES, "scratch-space.marker": "yes\n"}
    monkeypatch.setattr("podvm_builder.boot.attempt.cidata", lambda: userdata.cidata(files))
    assert run(["boot", str(folder), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    checks = {line["what"]: line["passed"] for line in document["selftest"]}
    assert checks["scratch storage is encrypted with integrity, and takes files"]
    assert checks["nothing but memory and encrypted storage is writable"]
    equal = {row["register"] for row in document["registers"] if row["equal"]}
    assert {"tpm.pcr04", "tpm.pcr05", "tpm.pcr11"} <= equal
