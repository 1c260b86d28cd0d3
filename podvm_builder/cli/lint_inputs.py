"""What ``podvm-build lint`` is given: told apart by what lies there, and opened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from podvm_builder.errors import InputError
from podvm_builder.model.layout import MANIFEST, RAW

if TYPE_CHECKING:
    from podvm_builder.lint.subject import About, Subject
    from podvm_builder.model.axes import Target
    from podvm_builder.model.lint import Suppression
    from podvm_builder.model.manifest import ImageManifest

_ROOT_FOLDERS = ("usr", "etc")
_MAX_MANIFEST = 64 << 20
CODE = "PVB801"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A subject, and what goes with it."""

    subject: Subject
    target: str | None
    suppressions: tuple[Suppression, ...] = ()


@contextmanager
def open_given(source: str, *, target: str | None, cmdline: str | None) -> Iterator[list[Opened]]:
    """Open what the user named; files stay open as long as the context lasts.

    Raises:
        InputError: PVB801, it is nothing that is linted, or cannot be read; PVB802, an option that does not fit it.
    """
    from podvm_builder.formats.compression import Unsupported
    from podvm_builder.model.axes import Target

    chosen = None if target is None else _known(Target.parse(target))
    path = Path(source)
    with ExitStack() as stack:
        try:
            if path.is_dir():
                opened = _folder(path, source, chosen, cmdline, stack)
            elif path.is_file() and path.suffix not in (".yaml", ".yml"):
                _refuse(cmdline, "--cmdline", "an image, which has its own")
                opened = [_image(path, source, chosen, None, stack)]
            else:
                _refuse(cmdline, "--cmdline", "a recipe, which has its own")
                _refuse(target, "--target", "a target or profile, which says it itself")
                opened = _planned(source)
        except Unsupported as error:
            raise InputError(f"`{source}` cannot be read here: {error}", code=CODE) from None
        yield opened


def _folder(path: Path, source: str, chosen: Target | None, cmdline: str | None, stack: ExitStack) -> list[Opened]:
    from podvm_builder.lint.opening import about_target, guess_variant, recipe_subject, recipe_target, tree_subject
    from podvm_builder.lint.subject import About
    from podvm_builder.tools.folder_tree import FolderTree, read_recipe

    if (path / RAW).is_file():
        _refuse(cmdline, "--cmdline", "an image, which has its own")
        return [_image(path / RAW, source, chosen, _manifest(path / MANIFEST), stack)]
    if (path / "mkosi.conf").is_file():
        _refuse(cmdline, "--cmdline", "a recipe, which has its own")
        recipe = read_recipe(path)
        known = chosen or recipe_target(recipe)
        about = About() if known is None else about_target(known)
        return [Opened(subject=recipe_subject(source, recipe, about), target=_text(known))]
    if any((path / name).is_dir() for name in _ROOT_FOLDERS):
        tree = FolderTree(path)
        about = guess_variant(tree, About()) if chosen is None else _of_target(chosen)
        return [Opened(subject=tree_subject(source, tree, about, cmdline=cmdline), target=_text(chosen))]
    raise InputError(
        f"`{source}` holds neither `{RAW}` nor `mkosi.conf` nor a root file system",
        code=CODE,
        hint="give a build's output folder, a rendered recipe, or a folder with `usr` and `etc`",
    )


def _image(path: Path, source: str, chosen: Target | None, manifest: ImageManifest | None, stack: ExitStack) -> Opened:
    from podvm_builder.lint.opening import about_manifest, image_subject
    from podvm_builder.lint.subject import About
    from podvm_builder.tools.files import FileReader

    if manifest is not None and chosen is not None and str(chosen) != manifest.target:
        raise InputError(f"`{source}` was built for `{manifest.target}`, not for `{chosen}`", code="PVB802")
    about = About() if chosen is None else _of_target(chosen)
    if manifest is not None:
        about = about_manifest(manifest)
    disk = stack.enter_context(FileReader(path))
    return Opened(
        subject=image_subject(source, disk, about),
        target=_text(chosen) if manifest is None else manifest.target,
        suppressions=() if manifest is None else manifest.suppressions,
    )


def _planned(source: str) -> list[Opened]:
    """Render the recipes of a target or profile, and take them."""
    from podvm_builder.cli.source import resolve
    from podvm_builder.lint.opening import about_plan, recipe_subject
    from podvm_builder.recipes.mkosi import render
    from podvm_builder.tools.cache import open_cache

    resolved = resolve(source)
    guest = resolved.load(open_cache(None) if resolved.lock is not None else Path())
    return [
        Opened(
            subject=recipe_subject(source, render(plan, guest.files), about_plan(plan)),
            target=str(plan.target),
            suppressions=plan.suppressions,
        )
        for plan in resolved.plans
    ]


def _of_target(target: Target) -> About:
    """Return what a target's own plan says of an image, the choice of boot phases included."""
    from podvm_builder.catalog.load import catalogue
    from podvm_builder.lint.opening import about_plan
    from podvm_builder.planning.make import make_plan

    return about_plan(make_plan(target, catalogue(), components_digest=""))


def _known(target: Target) -> Target:
    _of_target(target)
    return target


def _manifest(path: Path) -> ImageManifest | None:
    from podvm_builder.formats.manifest import manifest_from_json
    from podvm_builder.tools.inputs import open_input

    if not path.exists():
        return None
    with open_input(path) as file:
        data = file.read(_MAX_MANIFEST)
    try:
        value = json.loads(data)
    except ValueError as error:
        raise InputError(f"`{path}` is not JSON: {error}", code="PVB203") from None
    return manifest_from_json(value)


def _refuse(value: str | None, option: str, what: str) -> None:
    if value is not None:
        raise InputError(f"`{option}` does not go with {what}", code="PVB802")


def _text(target: Target | None) -> str | None:
    return None if target is None else str(target)
