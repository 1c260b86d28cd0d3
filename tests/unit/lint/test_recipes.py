"""Rendered recipes and plain trees: what can be told of them, and what cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.formats.memory_tree import MemoryTree
from podvm_builder.lint.opening import (
    about_plan,
    guess_variant,
    parse_settings,
    recipe_subject,
    recipe_target,
    tree_subject,
)
from podvm_builder.lint.subject import About, Subject
from podvm_builder.model.axes import Target
from podvm_builder.model.recipe import RecipeFile
from podvm_builder.planning.support import every_target, why_not
from tests.support.lint_subjects import CMDLINE, PROGRAM, findings, good_files, report, text
from tests.support.plans import selftest_plan, selftest_recipe

TARGET = "debian-13/snp/libvirt"
SUPPORTED = [str(target) for target in every_target(catalogue()) if why_not(target, catalogue()) is None]


def recipe(target: str = TARGET, changes: dict[str, str] | None = None, **files: str) -> Subject:
    """Return the recipe of a target with texts of its configuration replaced, and files added."""
    tree = dict(selftest_recipe(target))
    conf = tree["mkosi.conf"].data.decode()
    for old, new in (changes or {}).items():
        assert old in conf
        conf = conf.replace(old, new)
    tree["mkosi.conf"] = RecipeFile(data=conf.encode())
    tree |= {path: RecipeFile(data=data.encode()) for path, data in files.items()}
    return recipe_subject("recipe", tree, about_plan(selftest_plan(target)))


def package(name: str) -> dict[str, str]:
    """Ask for a package more."""
    return {"Packages=\n": f"Packages=\n        {name}\n"}


@pytest.mark.parametrize("target", SUPPORTED)
def test_nothing_is_found_in_the_recipe_of_any_target(target: str) -> None:
    assert findings(recipe(target)) == ()


@pytest.mark.parametrize(
    ("code", "said", "subject"),
    [
        ("PVB831", "`openssh-server` is the package", recipe(changes=package("openssh-server"))),
        ("PVB854", "`cloud-init`: user data", recipe(changes=package("cloud-init"))),
        ("PVB853", "no `Seed=`", recipe(changes={"Seed=": "# Seed="})),
        ("PVB853", "no `SourceDateEpoch=`", recipe(changes={"SourceDateEpoch=": "# "})),
        ("PVB832", "gives root a password", recipe(changes={"RootPassword=hashed:!": "RootPassword=hashed:$y$x"})),
        ("PVB847", "imports credentials", recipe(changes={"systemd.import_credentials=no": "quiet"})),
        ("PVB843", "`console=ttyAMA0`", recipe(changes={"console=ttyS0": "console=ttyAMA0"})),
        ("PVB840", "no `sev_guest`", recipe(changes={"drivers/virt/coco/": "drivers/virt/none/"})),
        ("PVB842", "no `ena`", recipe("debian-13/snp/aws", {"amazon/ena/ena|": ""})),
        ("PVB841", "no `hv_storvsc`", recipe("debian-13/snp/azure", {"scsi/(hv_storvsc|sd_mod": "scsi/(sd_mod"})),
        ("PVB845", "`initrd-init` does not set up", recipe(**{"initrd-init": "#!/bin/sh\nmount /dev/sda /sysroot\n"})),
        (
            "PVB834",
            "`/etc/auth.json` holds credentials of a registry",
            recipe(**{"mkosi.extra/etc/auth.json": '{"auths": {"x": {"auth": "dXNlcjpwYXNz"}}}'}),
        ),
        ("PVB834", "`mkosi.sandbox/key` holds", recipe(**{"mkosi.sandbox/key": "token: ghp_" + "a" * 36})),
        ("PVB850", "holds an ID", recipe(**{"mkosi.extra/etc/machine-id": "1234\n"})),
    ],
)  # fmt: skip
def test_planted_fault(code: str, said: str, subject: Subject) -> None:
    found = findings(subject)
    assert {finding.code for finding in found} == {code}
    assert any(said in finding.message for finding in found), found


def test_a_recipe_says_what_it_is_for() -> None:
    assert recipe_target(selftest_recipe(TARGET)) == Target.parse(TARGET)
    assert recipe_target({"mkosi.conf": RecipeFile(data=b"[Distribution]\n")}) is None


def test_settings_are_read_as_mkosi_reads_them() -> None:
    conf = "# x\n[Content]\nA=1\n# y\nB=\n        one two\n        ; z\n        50%%\n\n[Output]\nA=2\nC=1\nC=\nD=\n"
    assert parse_settings(conf) == {"A": ("1", "2"), "B": ("one two", "50%"), "C": (), "D": ()}


def tree(target: str | None = TARGET, cmdline: str | None = None) -> Subject:
    """Return the good root as a tree that somebody copied, so that all of it is theirs."""
    files = {path: replace(file, owner=1000, group=1000, changed=4_000_000_000) for path, file in good_files().items()}
    about = About() if target is None else about_plan(selftest_plan(target))
    return tree_subject("tree", MemoryTree(files), about, cmdline=cmdline)


def test_a_plain_tree_is_linted_for_what_it_can_tell() -> None:
    found = report(tree())
    # its initrd is made when the image is: whether a driver will be in it is not known
    assert {finding.code for finding in found.findings} <= {"PVB841"}
    reasons = dict(found.unchecked)
    assert (
        reasons["owner"] == reasons["timestamp"] == "needs owners and times that are the image's, not those of a copy"
    )
    assert reasons["root-hash"] == "needs a disk"
    assert reasons["verity-data"] in ("needs a disk", "needs a kernel command line")
    unknown = report(tree(None))
    assert unknown.findings == ()
    assert dict(unknown.unchecked)["tee-driver"].endswith("(--target)")
    assert dict(report(tree(cmdline=CMDLINE)).unchecked).keys() < reasons.keys()


def test_a_tree_of_which_nothing_is_known_says_its_variant() -> None:
    files = good_files() | {"usr/lib/os-release": text('ID=debian\nIMAGE_ID="podvm-selftest-debug"\n')}
    assert guess_variant(MemoryTree(files), About()).variant == "debug"
    assert guess_variant(MemoryTree(good_files()), About()).variant == "production"
    about = guess_variant(MemoryTree({"usr/bin/x": PROGRAM}), About())
    assert about == About()
