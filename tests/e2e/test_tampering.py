"""Every way to tamper that we know of: it fails to boot, is seen in a register, or has no effect."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.boots import BANKS, Boot, boot, record
from tests.support.tampering import CASES, MARK, Case
from tests.support.tools_tree import Oracle

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tampering(built_image: Path, tmp_path: Path, case: Case) -> None:
    folder = shutil.copytree(built_image, tmp_path / "image")
    options = case.change(folder, Oracle(folder))
    seen = boot(folder, "--timeout", "150", *options)
    failed = seen.document["outcome"] != "up"
    acted = MARK in (folder / "boot" / "serial.log").read_text(encoding="utf-8")
    row = {
        "what": case.what,
        "outcome": seen.document["outcome"],
        "reason": seen.document["reason"] if failed else "",
        "registers": [] if failed else sorted(seen.different),
        "acts": acted,
        "note": case.note,
    }
    record("tamper", CASES.index(case), case.name, row)
    assert failed == case.fails, seen.talk
    assert acted == case.acts
    if failed:
        assert seen.code == 1
        assert "error[PVB51" in seen.talk
        return
    assert seen.different == case.registers, seen.talk
    assert seen.code == (1 if case.registers else 0)
    # what was changed is named by the first event that differs
    if case.name == "uki-section":
        rows = [row for row in seen.document["registers"] if (row["register"], row["alg"]) == ("tpm.pcr11", "sha256")]
        assert rows[0]["first_difference"]["expected"]["subject"] == "section .osrel"
        assert any("is not the file that the manifest records" in note for note in seen.document["notes"])
    if case.predicted:
        assert_predicted(folder, case, seen)


def assert_predicted(folder: Path, case: Case, seen: Boot) -> None:
    """Hold the prediction of the changed disk to what the TPM held."""
    command = [sys.executable, "-m", "podvm_builder", "measure", "tpm", "--format", "json"]
    done = subprocess.run(
        [*command, "--image", str(folder / "image.raw")], stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    rows = {(row["register"], row["alg"]): row["value"] for row in json.loads(done.stdout)["measurements"]}
    for pcr in case.registers:
        for alg in BANKS:
            assert rows[f"tpm.pcr{pcr:02d}", alg] == seen.observed(pcr, alg), (pcr, alg)


def test_reading_the_file_is_no_failure_by_itself(built_image: Path, tmp_path: Path) -> None:
    """The counterpart of `unread-block-read`: with an unchanged disk the same request harms nothing."""
    folder = shutil.copytree(built_image, tmp_path / "image")
    case = next(case for case in CASES if case.name == "unread-block-read")
    options = case.change(shutil.copytree(built_image, tmp_path / "spare"), Oracle(tmp_path / "spare"))
    seen = boot(folder, "--timeout", "150", *options)
    assert (seen.document["outcome"], seen.different) == ("up", {9, 12}), seen.talk
    assert seen.document["troubles"] == []
