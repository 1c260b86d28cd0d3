"""Lint of an image that was really built: nothing is found, and every fault that is planted in a copy of it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podvm_builder.cli.app import run
from podvm_builder.formats.manifest import manifest_from_json
from podvm_builder.lint.opening import about_manifest
from podvm_builder.tools.files import FileReader
from tests.conftest import PROJECT
from tests.support.lint_subjects import findings
from tests.support.planted import PLANTED, Base, Plant, copied_image, planted

pytestmark = pytest.mark.image


@pytest.fixture(scope="module")
def copy(built_image: Path) -> Base:
    """A copy of the image, to plant faults in."""
    manifest = manifest_from_json(json.loads((built_image / "manifest.json").read_bytes()))
    with FileReader(built_image / "image.raw") as disk:
        return copied_image(disk, about_manifest(manifest))


def test_nothing_is_found(built_image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lint", str(built_image), "--format", "json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["findings"] == report["suppressed"] == []
    assert report["not_checked"] == []


def test_every_planted_fault_is_found(copy: Base) -> None:
    missed = {f"{code} {said}": found for code, said, fault in PLANTED if (found := _found(copy, fault)) != {code}}
    assert missed == {}


def _found(copy: Base, fault: Plant) -> set[str]:
    return {finding.code for finding in findings(planted(copy, fault))}


def test_the_page_of_the_contract_is_of_this_image(built_image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lint", str(built_image), "--contract"]) == 0
    page = capsys.readouterr().out
    assert "**" not in page
    assert (PROJECT / "docs/contract.md").read_text(encoding="utf-8") == page
