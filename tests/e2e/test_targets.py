"""Every target that the catalogue calls `booted` is built and booted, and every one it calls `built` is built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podvm_builder.catalog.load import catalogue
from tests.support.boots import BANKS, boot
from tests.support.built_image import TARGET, build_once

pytestmark = pytest.mark.e2e

COMPARED = {4, 5, 7, 9, 11, 12, 13, 14}


def proved(level: str) -> list[str]:
    """Return the targets of a level, apart from the one that `make test` builds and boots."""
    named = {target for proof in catalogue().proofs if proof.level == level for target in proof.targets}
    assert not any("*" in target for target in named), "what is built is named one by one"
    return sorted(named - {TARGET})


@pytest.mark.parametrize("target", proved("booted"))
def test_it_builds_and_boots_as_predicted(target: str, tmp_path: Path) -> None:
    seen = boot(build_once(tmp_path, target=target))
    document = seen.document
    assert (seen.code, document["outcome"], document["proved"]) == (0, "up", True), seen.talk
    assert seen.equal >= {(pcr, alg) for pcr in COMPARED for alg in BANKS}
    assert document["selftest"] and all(line["passed"] for line in document["selftest"])


@pytest.mark.parametrize("target", proved("built"))
def test_it_builds(target: str, tmp_path: Path) -> None:
    folder = build_once(tmp_path, target=target)
    assert json.loads((folder / "manifest.json").read_text())["target"] == target
    assert (folder / "image.raw").stat().st_size > 1 << 20
