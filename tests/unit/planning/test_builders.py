"""What builds a target: the distribution's own builder, or the one asked for, where it can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podvm_builder.catalog.entries import Catalogue, Proof
from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import InputErrors
from podvm_builder.model.axes import Target
from podvm_builder.planning.builders import choose_builder
from podvm_builder.planning.make import make_plans
from tests.support.plans import packer_plan, packer_targets, selftest_plan

TARGET = Target.parse("debian-13/none/libvirt")


def changed(**changes: object) -> Catalogue:
    known = catalogue()
    distro = replace(known.distros["debian-13"], **{k: v for k, v in changes.items() if k != "cloud"})  # type: ignore[arg-type]
    cloud = replace(known.clouds["libvirt"], packer=changes.get("cloud", known.clouds["libvirt"].packer))  # type: ignore[arg-type]
    return replace(known, distros={**known.distros, "debian-13": distro}, clouds={**known.clouds, "libvirt": cloud})


def test_the_distribution_decides_unless_another_is_asked_for() -> None:
    assert choose_builder(TARGET, catalogue(), None) == "mkosi"
    assert choose_builder(TARGET, catalogue(), "packer") == "packer"
    assert choose_builder(TARGET, changed(builder="packer"), None) == "packer"


@pytest.mark.parametrize(
    ("known", "asked", "code"),
    [
        (changed(builder="packer"), "mkosi", "PVB180"),
        (changed(packer=None), "packer", "PVB181"),
        (changed(cloud=None), "packer", "PVB182"),
        (changed(builder="packer", cloud=None), None, "PVB111"),
    ],
)
def test_what_cannot_be_built_is_refused(known: Catalogue, asked: str | None, code: str) -> None:
    with pytest.raises(InputErrors) as caught:
        make_plans(TARGET, known, components_digest="", builder=asked)
    assert [error.code for error in caught.value.errors] == [code]


def test_the_builder_is_part_of_the_plan() -> None:
    ours, theirs = selftest_plan(str(TARGET)), packer_plan(str(TARGET))
    assert ours.ids.rootfs != theirs.ids.rootfs and ours.ids.plan != theirs.ids.plan
    assert (ours.folder, theirs.folder) == ("debian-13-none-libvirt", "debian-13-none-libvirt-packer")
    assert [origin.layer for origin in theirs.origins["builder"]] == ["distro debian-13", "--builder"]


def test_no_register_is_promised_of_a_changed_vendor_image() -> None:
    ours, theirs = selftest_plan("debian-13/snp/azure").evidence, packer_plan("debian-13/snp/azure").evidence
    assert ours.identifies and not theirs.identifies
    assert (theirs.kind, theirs.promised, theirs.by) == (ours.kind, (), ())
    assert "root file system" in theirs.reason


def test_every_template_has_the_level_that_its_tests_prove() -> None:
    for target in packer_targets():
        plan = packer_plan(target)
        if plan.distro.name == "debian" and plan.target.cloud in ("aws", "azure", "gcp", "libvirt"):
            assert plan.level == ("validated" if plan.target.cloud == "libvirt" else "rendered")


def test_a_level_is_of_one_builder() -> None:
    known = replace(catalogue(), proofs=(Proof(level="booted", targets=(str(TARGET),), test="x", builder="packer"),))
    assert known.level(TARGET) == known.level(TARGET, "mkosi") == "planned"
    assert known.level(TARGET, "packer") == "booted"
