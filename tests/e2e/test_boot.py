"""A real image in a real emulator: what the TPM holds is what was predicted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from podvm_builder.guest.unit_check import AGENTS
from podvm_builder.tools.cache import default_cache
from tests.support.boots import BANKS, boot

COMPARED = {4, 5, 7, 9, 11, 12, 13, 14}


@pytest.mark.image
def test_a_boot_proves_the_prediction(built_image: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(built_image, tmp_path / "image")
    seen = boot(folder)
    document = seen.document
    assert (seen.code, document["outcome"], document["proved"]) == (0, "up", True), seen.talk
    assert seen.equal >= {(pcr, alg) for pcr in COMPARED for alg in BANKS}
    assert seen.different == set()
    # the relay has seen all that the TPM holds, and nothing went wrong on the way
    assert all(row["explained"] for row in document["registers"])
    assert document["troubles"] == []
    assert document["selftest"]
    assert all(line["passed"] for line in document["selftest"])
    named = {event["subject"] for event in document["events"]}
    assert named >= {"UKI", "initrd", "command line", "partition table", "section .linux"}
    assert json.loads((folder / "boot" / "result.json").read_text()) == document
    assert [phase["name"] for phase in document["phases"]] == ["firmware", "loader", "kernel", "initrd", "userspace"]
    assert {unit["name"] for unit in document["units"] if unit["up"] is not None} >= {*AGENTS}
    timeline = ElementTree.parse(folder / "boot" / "timeline.svg")  # noqa: S314 - our own document
    shown = {"".join(element.itertext()) for element in timeline.iter("{http://www.w3.org/2000/svg}text")}
    assert shown >= {*AGENTS, *(stage["what"] for stage in document["timeline"])}


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_boot_that_is_asked_to_end_leaves_nothing(built_image: Path, tmp_path: Path, number: signal.Signals) -> None:
    folder = shutil.copytree(built_image, tmp_path / "image")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "tools").symlink_to(default_cache() / "tools")
    mark = f"mark-{os.getpid()}-{number.value}"
    command = [sys.executable, "-m", "podvm_builder", "boot", str(folder), "--cache", str(cache)]
    with subprocess.Popen(
        [*command, f"--fw-cfg=opt/mark={mark}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        while b"firmware starts the loader" not in process.stderr.readline():
            assert process.poll() is None
        assert _running(mark)
        process.send_signal(number)
        out, said = process.communicate()
    assert (process.returncode, out) == (130, b"")
    assert b"interrupted" in said
    assert not _running(mark)
    assert not _running(str(folder))
    assert [path for path in (cache / "work").rglob("*") if not path.is_dir()] == []
    assert not (folder / "boot").exists()


def _running(word: str) -> list[str]:
    """Return the processes in whose arguments a word stands."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found
