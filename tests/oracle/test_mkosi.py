"""mkosi itself reads every recipe: no warning, no unknown setting, and the values that the plan has.

mkosi 25.3 ends at an unknown setting, later releases warn and go on: anything on its standard error fails the test.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.guest.components import selftest
from podvm_builder.model.recipe import RecipeTree
from podvm_builder.planning.support import every_target, why_not
from podvm_builder.recipes.mkosi import image_name, seed
from tests.support.plans import selftest_plan, selftest_recipe
from tests.support.tools_tree import Oracle

SUPPORTED = [str(target) for target in every_target(catalogue()) if why_not(target, catalogue()) is None]
TARGETS = [*SUPPORTED, *(f"{target}+debug" for target in SUPPORTED)]
FEATURES = [
    *(f"debian-13/snp/{cloud}+gpu" for cloud in ("aws", "azure", "gcp", "libvirt")),
    "debian-13/snp/azure+debug+gpu",
    "debian-13/snp/libvirt+sftp",
    "debian-13/snp/libvirt+debug+gpu+sftp",
]
KEY = "guest.ssh_key=id.pub"


def write(recipe: RecipeTree, folder: Path) -> None:
    for path, file in recipe.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(file.data)
        (folder / path).chmod(file.mode)


def test_there_are_targets() -> None:
    assert len(SUPPORTED) >= 11


@pytest.mark.parametrize("target", [*TARGETS, *FEATURES])
def test_mkosi_reads_the_recipe_without_a_word(target: str, tmp_path: Path) -> None:
    oracle = Oracle(tmp_path)
    sets = [KEY] if "+sftp" in target else []
    write(selftest_recipe(target, *sets), tmp_path)
    done = oracle.finish("/usr/bin/mkosi", "--json", "summary")
    assert done.stderr == b""
    (image,) = json.loads(done.stdout)["Images"]
    plan = selftest_plan(target, *sets)
    assert image["ImageId"] == image_name(plan, selftest())
    assert image["Seed"] == seed(plan.ids.rootfs)
    assert image["KernelCommandLine"] == list(plan.kernel.cmdline)
    assert image["Packages"] == list(plan.packages)
    assert image["RemoveFiles"] == list(plan.image.remove)
    assert image["KernelModulesInclude"] == list(plan.kernel.modules)
    assert image["KernelModulesInitrdInclude"] == list(plan.kernel.initrd_modules)
    assert image["SourceDateEpoch"] == plan.image.source_date_epoch
    assert image["Bootloader"] == "uki" and image["SplitArtifacts"] == ["uki"]


def test_what_mkosi_does_not_know_would_be_noticed(tmp_path: Path) -> None:
    oracle = Oracle(tmp_path)
    recipe = dict(selftest_recipe("debian-13/none/libvirt"))
    write(recipe, tmp_path)
    with (tmp_path / "mkosi.conf").open("a") as file:
        file.write("NoSuchSetting=yes\n")
    with pytest.raises(AssertionError, match="Unknown setting NoSuchSetting"):
        oracle.finish("/usr/bin/mkosi", "--json", "summary")
