"""The catalogue's own files, and what the loader makes of mistakes in them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from podvm_builder.catalog.cloud import CloudTee
from podvm_builder.catalog.entries import Catalogue
from podvm_builder.catalog.load import ROOT, catalogue, load
from podvm_builder.catalog.settings import SETTINGS, Edit
from podvm_builder.cli.app import run
from podvm_builder.guest.components import selftest
from podvm_builder.lint.known import own_knowledge
from podvm_builder.lint.opening import about_plan, recipe_subject
from podvm_builder.lint.run import lint
from podvm_builder.model.axes import VARIANTS, Target
from podvm_builder.planning.make import make_plan
from podvm_builder.planning.rules import check_edit
from podvm_builder.planning.support import every_target, why_not
from podvm_builder.recipes.render import render


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the catalogue to change."""
    with as_file(files(ROOT)) as own:
        shutil.copytree(own, tmp_path / "catalog", ignore=shutil.ignore_patterns("*.py", "__pycache__", "codes"))
    return tmp_path / "catalog"


NIMBUS = """\
name: nimbus
title: Nimbus
architectures: [x86_64]
boots: [disk]
settings:
  platform: {vmm: qemu}
  kernel: {cmdline: {append: [nimbus.id=1]}}
tees:
  none:
    reason: Nimbus has no TPM
  snp:
    evidence:
      - {kind: snp, promised: [], identified_by: [], reason: the firmware is Nimbus's, source: Nimbus's documentation}
  tdx:
    reason: Nimbus has no machine with TDX
"""


def every_edit(known: Catalogue) -> list[Edit]:
    tees: list[CloudTee] = [tee for cloud in known.clouds.values() for tee in cloud.tees.values()]
    owners = [*known.architectures.values(), *known.distros.values(), *known.tees.values(), *known.clouds.values()]
    edits = [edit for owner in (*owners, *known.variants.values(), *tees) for edit in owner.edits]
    edits += [edit for distro in known.distros.values() for found in distro.architectures.values() for edit in found]
    return [*known.defaults, *edits]


def test_the_defaults_give_every_setting_a_value() -> None:
    assert {edit.key for edit in catalogue().defaults} == set(SETTINGS)


def test_the_catalogues_own_values_pass_the_rules_for_profiles() -> None:
    known = catalogue()
    unset = {"kernel.package"}  # the defaults leave it to the distribution
    problems = [
        error.message
        for edit in every_edit(known)
        if not (edit.key in unset and edit.value == "")
        for error in check_edit(edit, known)
    ]
    assert problems == []


def test_variants_are_those_of_targets() -> None:
    assert set(catalogue().variants) == set(VARIANTS)


def test_every_cloud_says_something_of_every_supported_tee() -> None:
    known = catalogue()
    supported = {name for name, tee in known.tees.items() if tee.reason is None}
    assert {name: set(cloud.tees) for name, cloud in known.clouds.items()} == dict.fromkeys(known.clouds, supported)


def test_registers_that_identify_are_promised() -> None:
    for cloud in catalogue().clouds.values():
        for tee in cloud.tees.values():
            for row in tee.evidence:
                assert set(row.by) <= set(row.promised), row.place
                assert row.reason
                assert row.source


def test_levels_are_about_targets_that_work() -> None:
    known = catalogue()
    production = [target for target in every_target(known) if why_not(target, known) is None]
    working = [*production, *(replace(target, variant="debug") for target in production)]
    for proof in known.proofs:
        assert any(proof.covers(target) for target in working), proof


def test_the_highest_proof_counts() -> None:
    known = catalogue()
    assert known.level(Target.parse("debian-13/snp/libvirt")) == "booted"
    assert known.level(Target.parse("debian-13/snp/libvirt+debug")) == "validated"
    assert known.level(Target.parse("debian-13/snp/libvirt+debug+gpu")) == "planned"


def test_the_tools_id_is_over_the_set_of_packages(folder: Path) -> None:
    tools = folder / "tools.yaml"
    lines = tools.read_text().splitlines()
    packages = [line for line in lines if line.startswith("  - ")]
    rest = [line for line in lines if not line.startswith("  - ")]
    tools.write_text("\n".join([*rest, *reversed(packages), packages[0]]) + "\n")
    assert load(folder).tools.id == catalogue().tools.id
    tools.write_text("\n".join([*rest, *packages, "  - one-more"]) + "\n")
    assert load(folder).tools.id != catalogue().tools.id


def test_a_made_up_cloud_is_a_file(folder: Path) -> None:
    (folder / "clouds" / "nimbus.yaml").write_text(
        "name: nimbus\ntitle: Nimbus\narchitectures: [x86_64]\nboots: [disk]\n"
        "settings:\n  platform: {vmm: qemu}\n  kernel: {cmdline: {append: [nimbus.id=1]}}\n"
        "tees:\n  snp:\n    evidence:\n      - {kind: snp, promised: [], reason: r, source: s}\n"
    )
    known = load(folder)
    plan = make_plan(Target.parse("debian-13/snp/nimbus"), known, components_digest="")
    assert "nimbus.id=1" in plan.kernel.cmdline
    assert not plan.evidence.identifies
    assert plan.level == "validated"  # the proofs' patterns cover new clouds, whose recipes the test then takes in
    assert why_not(Target.parse("debian-13/tdx/nimbus"), known) == "Nimbus does not offer Intel TDX"


def test_a_made_up_cloud_goes_all_the_way_by_data_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "clouds" / "nimbus.yaml").write_text(NIMBUS)
    known = load(folder)
    for module in ("cli.list_", "recipes.mkosi", "guest.payload"):
        monkeypatch.setattr(f"podvm_builder.{module}.catalogue", lambda: known)
    plan = make_plan(Target.parse("ubuntu-26.04/snp/nimbus"), known, components_digest="")
    tree = render(plan, selftest())
    assert b"nimbus.id=1" in tree["mkosi.conf"].data
    subject = recipe_subject("recipe", tree, about_plan(plan))
    assert lint(subject, replace(own_knowledge(), catalogue=known)).findings == ()
    assert run(["list", "targets", "--cloud", "nimbus", "--tee", "snp", "--format", "json"]) == 0
    rows = {row["target"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["ubuntu-26.04/snp/nimbus"]["supported"]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("clouds/aws.yaml", "title:", "titel:", r"catalog/clouds/aws\.yaml:2: unknown key `titel`"),
        ("clouds/aws.yaml", "name: aws", "name: was", r"catalog/clouds/aws\.yaml:1: the entry is named `was`"),
        ("clouds/aws.yaml", "boots: [disk]", "boots: disk", r"`boots` must be a list of text"),
        ("clouds/aws.yaml", "boots: [disk]", "boots: [1]", r"`boots` must be a list of text"),
        ("clouds/aws.yaml", "vmm: ec2", "vmn: ec2", r"unknown setting `platform\.vmn`"),
        ("clouds/aws.yaml", "vmm: ec2", "vmm: [ec2]", r"`platform\.vmm` must be a single value"),
        ("clouds/aws.yaml", "name: aws", "name: aws\nname: aws", r"duplicate key `name`"),
        ("clouds/aws.yaml", "title: Amazon EC2", "title: 12", r"`title` must be text"),
        ("clouds/gcp.yaml", "kind: tdx", "kind: tdx\n        when: {boot: disk}", r"must hold always"),
        ("tees/snp.yaml", "{append: [0x1]}", "[0x1]", r"a fragment edits `platform\.guest_features`"),
        ("tees/snp.yaml", "{append: [0x1]}", "{append: [x]}", r"must be a list of whole numbers"),
        ("levels.yaml", "level: booted", "level: flown", r"`level` must be one of"),
        ("firmware.yaml", "snp: true", "snp: yes", r"read as a truth value"),
        ("firmware.yaml", "14954040", "14954", r"is not a SHA-256"),
        ("tools.yaml", "packages:", "packages: x\npackage:", r"unknown key `package`"),
    ],
)
def test_mistakes_are_named_with_their_place(folder: Path, file: str, old: str, new: str, message: str) -> None:
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_a_file_that_is_no_mapping(folder: Path) -> None:
    (folder / "tools.yaml").write_text("- a\n")
    with pytest.raises(ValueError, match="must be a mapping"):
        load(folder)


def test_every_level_names_a_test_that_exists() -> None:
    for proof in catalogue().proofs:
        assert (Path(__file__).parents[3] / proof.test).is_file(), proof.test
