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

SUPPORTED = [
    str(target)
    for target in every_target(catalogue())
    if why_not(target, catalogue()) is None and catalogue().distros[target.distro].builder == "mkosi"
]
TARGETS = [*SUPPORTED, *(f"{target}+debug" for target in SUPPORTED)]
FEATURES = [
    *(f"debian-13/snp/{cloud}+gpu" for cloud in ("aws", "azure", "gcp", "libvirt")),
    "debian-13/snp/azure+debug+gpu",
    "debian-13/snp/libvirt+sftp",
    "debian-13/snp/libvirt+debug+gpu+sftp",
]
KEY = "guest.ssh_key=id.pub"


SUMMARIES = """
import os, sys
from pathlib import Path
from mkosi.__main__ import main

# mkosi is loaded once, and each recipe read by a process of its own
for folder in sorted(Path("recipes").iterdir()):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for number, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(os.open(f"{folder}.{name}", os.O_WRONLY | os.O_CREAT, 0o644), number)
            os.chdir(folder)
            sys.argv = ["mkosi", "--json", "summary"]
            main()
            sys.stdout.flush()
            status = 0
        except SystemExit as end:
            sys.stdout.flush()
            status = int(end.code or 0)
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    Path(f"{folder}.status").write_text(str(os.waitstatus_to_exitcode(status)))
"""


def write(recipe: RecipeTree, folder: Path) -> None:
    for path, file in recipe.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(file.data)
        (folder / path).chmod(file.mode)


def sets_of(target: str) -> list[str]:
    return [KEY] if "+sftp" in target else []


def folder_of(target: str) -> str:
    return target.replace("/", ",")


def test_there_are_targets() -> None:
    assert len(SUPPORTED) >= 200


@pytest.mark.parametrize("distro", sorted({target.partition("/")[0] for target in SUPPORTED}))
def test_mkosi_reads_every_recipe_without_a_word(distro: str, tmp_path: Path) -> None:
    oracle = Oracle(tmp_path)
    oracle.path("/usr/bin/mkosi")
    targets = [target for target in (*TARGETS, *FEATURES) if target.startswith(f"{distro}/")]
    for target in targets:
        write(selftest_recipe(target, *sets_of(target)), tmp_path / "recipes" / folder_of(target))
    oracle.finish("/usr/bin/python3", "-c", SUMMARIES)
    for target in targets:
        check(target, tmp_path / "recipes")


def check(target: str, summaries: Path) -> None:
    name = folder_of(target)
    assert (summaries / f"{name}.stderr").read_text() == "", target
    assert (summaries / f"{name}.status").read_text() == "0", target
    (image,) = json.loads((summaries / f"{name}.stdout").read_text())["Images"]
    plan = selftest_plan(target, *sets_of(target))
    seen = {key: image[key] for key in ("Distribution", "Release", "Repositories", "KernelCommandLine", "Packages")}
    assert seen == {
        "Distribution": plan.distro.name,
        "Release": plan.distro.release,
        "Repositories": list(plan.distro.repositories),
        "KernelCommandLine": list(plan.kernel.cmdline),
        "Packages": list(plan.packages),
    }, target
    assert image["ImageId"] == image_name(plan, selftest())
    assert image["Seed"] == seed(plan.ids.rootfs)
    assert image["RemoveFiles"] == list(plan.image.remove)
    assert image["KernelModulesInclude"] == list(plan.kernel.modules)
    assert image["KernelModulesInitrdInclude"] == list(plan.kernel.initrd_modules)
    assert image["SourceDateEpoch"] == plan.image.source_date_epoch
    loader = catalogue().architectures[plan.target.arch].loader
    assert image["Architecture"] == catalogue().architectures[plan.target.arch].mkosi
    if loader == "uki":
        assert image["Bootloader"] == "uki" and image["SplitArtifacts"] == ["uki"], target
        assert image["PostOutputScripts"] == [], target
    else:
        # what mkosi cannot do for it is the recipe's own step
        assert image["Bootloader"] == "none" and image["SplitArtifacts"] == ["kernel", "initrd"], target
        assert [Path(script).name for script in image["PostOutputScripts"]] == ["mkosi.postoutput"], target


def test_what_mkosi_does_not_know_would_be_noticed(tmp_path: Path) -> None:
    oracle = Oracle(tmp_path)
    recipe = dict(selftest_recipe("debian-13/none/libvirt"))
    write(recipe, tmp_path)
    with (tmp_path / "mkosi.conf").open("a") as file:
        file.write("NoSuchSetting=yes\n")
    with pytest.raises(AssertionError, match="Unknown setting NoSuchSetting"):
        oracle.finish("/usr/bin/mkosi", "--json", "summary")
