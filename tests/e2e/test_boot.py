"""A real image in a real emulator: what the TPM holds is what was predicted, and a change is seen."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BANKS = ("sha1", "sha256", "sha384")
COMPARED = {4, 5, 7, 9, 11, 12, 13, 14}


def boot(folder: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    command = [sys.executable, "-m", "podvm_builder", "boot", str(folder), "--format", "json", *options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def different(document: dict[str, Any]) -> set[int]:
    return {int(row["register"][-2:]) for row in document["registers"] if row["equal"] is False}


@pytest.mark.image
def test_a_boot_proves_the_prediction(built_image: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(built_image, tmp_path / "image")
    code, document, talk = boot(folder)
    assert (code, document["outcome"], document["proved"]) == (0, "up", True), talk
    equal = {(int(row["register"][-2:]), row["alg"]) for row in document["registers"] if row["equal"]}
    assert equal >= {(pcr, alg) for pcr in COMPARED for alg in BANKS}
    assert different(document) == set()
    # the relay has seen all that the TPM holds, and nothing went wrong on the way
    assert all(row["explained"] for row in document["registers"])
    assert document["troubles"] == []
    assert document["selftest"]
    assert all(line["passed"] for line in document["selftest"])
    named = {event["subject"] for event in document["events"]}
    assert named >= {"UKI", "initrd", "command line", "partition table", "section .linux"}
    assert json.loads((folder / "boot" / "result.json").read_text()) == document


@pytest.mark.e2e
@pytest.mark.parametrize("vcpus", ["1", "4"])
def test_the_number_of_vcpus_does_not_matter(built_image: Path, tmp_path: Path, vcpus: str) -> None:
    folder = shutil.copytree(built_image, tmp_path / "image")
    code, document, talk = boot(folder, "--smp", vcpus)
    assert code == 0, talk
    assert document["machine"]["vcpus"] == int(vcpus)


@pytest.mark.e2e
def test_a_changed_section_is_named(built_image: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(built_image, tmp_path / "image")
    disk = bytearray((folder / "image.raw").read_bytes())
    at = disk.index(b"PRETTY_NAME=")  # in .osrel: nothing that the boot depends on, but the stub measures it
    disk[at + 14] ^= 0x20
    (folder / "image.raw").write_bytes(disk)
    code, document, talk = boot(folder)
    assert code == 1
    assert "error[PVB520]: not as predicted: `tpm.pcr04`" in talk
    # the stub hands .osrel on to the initrd, too
    assert different(document) == {4, 9, 11}
    rows = [row for row in document["registers"] if row["register"] == "tpm.pcr11" and row["alg"] == "sha256"]
    assert rows[0]["first_difference"]["expected"]["subject"] == "section .osrel"
    assert len(document["notes"]) == 1


@pytest.mark.e2e
def test_a_changed_root_does_not_come_up_unseen(built_image: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(built_image, tmp_path / "image")
    disk = bytearray((folder / "image.raw").read_bytes())
    manifest = json.loads((folder / "manifest.json").read_text())
    magic = {"squashfs": b"hsqs", "erofs": b"\xe2\xe1\xf5\xe0"}[manifest["root_format"]]
    at = disk.index(magic, 1 << 20)
    disk[at + 8] ^= 0x01  # the superblock: read by every boot
    (folder / "image.raw").write_bytes(disk)
    code, document, talk = boot(folder, "--timeout", "120")
    assert code == 1
    assert document["proved"] is False
    assert "error[PVB51" in talk
