"""Recipes as folders: written whole or not at all, and compared with what they should be."""

from __future__ import annotations

import secrets
from pathlib import Path

from podvm_builder.build.mkosi import write_tree
from podvm_builder.errors import Finding, InputError
from podvm_builder.model.recipe import RecipeTree
from podvm_builder.recipes.packer_check import check_template
from podvm_builder.tools.files import replace_folder, writing
from podvm_builder.tools.sandbox import remove

MARKS = {"mkosi.conf": b"rendered by podvm-build", "plugins.pkr.hcl": b"# podvm-build: a Packer template"}
"""What the first line of a rendered recipe's own file holds."""

_SHOWN = 5
_LINE = 4096


def write_recipe(tree: RecipeTree, folder: Path) -> None:
    """Put a recipe in the place of a folder that is absent, empty or a recipe, in one step.

    Raises:
        InputError: PVB416, the folder holds something else, which would be lost.
        Lacking: PVB321, the disk is full; PVB322, the place cannot be written.
    """
    folder = folder.absolute()
    _refuse_strangers(folder)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    new = folder.with_name(f".{folder.name}.new-{secrets.token_hex(4)}")
    try:
        write_tree(tree, new)
        former = replace_folder(new, folder)
        if former is not None:
            remove(former)
    finally:
        remove(new)


def _refuse_strangers(folder: Path) -> None:
    try:
        if not any(folder.iterdir()):
            return
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise InputError(f"`{folder}` is a file, not a folder", code="PVB416") from None
    if not any(mark in _first_line(folder / name) for name, mark in MARKS.items()):
        raise InputError(
            f"`{folder}` holds files that are not a rendered recipe, and they would be lost",
            code="PVB416",
            hint="name a folder that does not exist yet",
        )


def _first_line(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.readline(_LINE)
    except FileNotFoundError:
        return b""


def check_options(folder: Path) -> None:
    """See that a Packer template in a folder, if there is one, asks its builder for nothing that it does not take.

    Raises:
        Finding: PVB440, with file, block and option of the first problems.
    """
    files = {path.name: path.read_text("utf-8", errors="replace") for path in sorted(folder.glob("*.pkr.hcl"))}
    problems = check_template(files)
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise Finding(
            f"Packer would refuse `{folder}`: {'; '.join(map(str, problems[:_SHOWN]))}{more}",
            code="PVB440",
            hint="run `podvm-build render` without --check to write the template anew",
        )


def check_recipe(tree: RecipeTree, folder: Path) -> None:
    """See that a folder holds exactly a recipe.

    Raises:
        Finding: PVB415, naming the first files that differ and how.
    """
    differing = differences(tree, folder)
    if differing:
        more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        raise Finding(
            f"`{folder}` is not what would be rendered: {'; '.join(differing[:_SHOWN])}{more}",
            code="PVB415",
            hint="run `podvm-build render` without --check to write it",
        )


def differences(tree: RecipeTree, folder: Path) -> list[str]:
    """Return in words what differs between a folder and a recipe, by path."""
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}
    found = {path: f"`{path}` is in the folder only" for path in there - tree.keys()}
    for path, file in tree.items():
        if path not in there:
            found[path] = f"`{path}` is absent"
        elif (how := _difference(folder / path, file.data, file.mode)) is not None:
            found[path] = f"`{path}` {how}"
    return [found[path] for path in sorted(found)]


def _difference(path: Path, data: bytes, mode: int) -> str | None:
    if path.is_symlink() or not path.is_file():
        return "is not a plain file"
    present = path.read_bytes()
    if present != data:
        pairs = zip([*present.splitlines(), None], [*data.splitlines(), None], strict=False)
        line = next((number for number, (a, b) in enumerate(pairs, 1) if a != b), None)
        return f"differs from line {line} on" if line else "differs in its end"
    # of the mode, only whether it can be run is kept by version control
    return None if bool(path.stat().st_mode & 0o100) == bool(mode & 0o100) else "differs in being executable"
