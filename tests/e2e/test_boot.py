"""A real image in a real emulator: what the TPM holds is what was predicted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from podvm_builder.guest.unit_check import AGENTS
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
