"""Recipes are written whole, compared exactly, and never put in the place of something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from podvm_builder.build.recipe import MARKS, check_options, check_recipe, write_recipe
from podvm_builder.errors import Finding, InputError
from podvm_builder.model.recipe import RecipeFile
from tests.support.plans import packer_recipe, selftest_recipe

TREE = {
    "mkosi.conf": RecipeFile(data=b"# x, " + MARKS["mkosi.conf"] + b"\n"),
    "mkosi.finalize": RecipeFile(data=b"#!/bin/sh\n", mode=0o755),
    "mkosi.extra/etc/x": RecipeFile(data=b""),
}


def test_every_recipe_carries_the_mark() -> None:
    assert MARKS["mkosi.conf"] in selftest_recipe("debian-13/snp/libvirt")["mkosi.conf"].data.splitlines()[0]
    assert MARKS["plugins.pkr.hcl"] in packer_recipe("debian-13/snp/azure")["plugins.pkr.hcl"].data.splitlines()[0]


def test_a_recipe_is_written_and_checks_out(tmp_path: Path) -> None:
    write_recipe(TREE, tmp_path / "r")
    check_recipe(TREE, tmp_path / "r")
    assert (tmp_path / "r/mkosi.finalize").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_a_recipe_replaces_a_recipe_and_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    write_recipe({**TREE, "old": RecipeFile(data=b"")}, tmp_path / "r")
    write_recipe(TREE, tmp_path / "r")
    assert not (tmp_path / "r/old").exists()


@pytest.mark.parametrize("name", ["notes.txt", "mkosi.conf"])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("[Distribution]\n")
    with pytest.raises(InputError) as caught:
        write_recipe(TREE, tmp_path)
    assert caught.value.code == "PVB416" and [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_is_not_taken_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("")
    with pytest.raises(InputError) as caught:
        write_recipe(TREE, tmp_path / "r")
    assert caught.value.code == "PVB416"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda r: (r / "mkosi.conf").write_bytes(b"# y, rendered by podvm-build\n"),
            "`mkosi.conf` differs from line 1",
        ),
        (lambda r: (r / "mkosi.finalize").chmod(0o644), "differs in being executable"),
        (lambda r: (r / "mkosi.extra/etc/x").unlink(), "`mkosi.extra/etc/x` is absent"),
        (lambda r: (r / "more").write_bytes(b""), "`more` is in the folder only"),
    ],
)
def test_a_drift_is_named(tmp_path: Path, change: object, words: str) -> None:
    write_recipe(TREE, tmp_path / "r")
    assert callable(change)
    change(tmp_path / "r")
    with pytest.raises(Finding) as caught:
        check_recipe(TREE, tmp_path / "r")
    assert caught.value.code == "PVB415" and words in caught.value.message


def test_an_option_that_packer_would_refuse_is_found_in_the_folder(tmp_path: Path) -> None:
    write_recipe(packer_recipe("debian-13/snp/azure"), tmp_path / "r")
    check_options(tmp_path / "r")
    source = tmp_path / "r/source.pkr.hcl"
    source.write_text(source.read_text().replace("  vm_size ", "  vm_siez "))
    with pytest.raises(
        Finding, match=r'source.pkr.hcl:\d+: `source "azure-arm" "podvm"`: .*did you mean `vm_size`'
    ) as caught:
        check_options(tmp_path / "r")
    assert caught.value.code == "PVB440"
