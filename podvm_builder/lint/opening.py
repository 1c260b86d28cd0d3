"""Subjects from what the user has: a disk image, a recipe, a file tree."""

from __future__ import annotations

import re
from dataclasses import replace
from uuid import UUID

from podvm_builder.errors import FormatError
from podvm_builder.formats.filetree import Kind, LinkedTree, ReadableTree
from podvm_builder.formats.gpt import Gpt
from podvm_builder.formats.initrd import Initrd
from podvm_builder.formats.memory_tree import MemoryFile, MemoryTree
from podvm_builder.formats.readers import window
from podvm_builder.formats.uki import Uki
from podvm_builder.formats.verity import parse_verity, root_hash
from podvm_builder.lint.subject import About, Files, Subject, VerityFacts
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.place import masked_units
from podvm_builder.measure.userspace import ROOT_TYPES, open_root
from podvm_builder.model.axes import Target
from podvm_builder.model.manifest import ImageManifest
from podvm_builder.model.plan import Plan
from podvm_builder.model.reader import BinaryReader
from podvm_builder.model.recipe import RecipeTree

_EXTRA = "mkosi.extra/"
_VERITY_TYPES = (
    UUID("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"),
    UUID("df3300ce-d69f-4c92-978c-9bfb0f38d820"),
)
"""Types of the hash partitions of roots, for x86-64 and arm64 (Discoverable Partitions Specification)."""
_SECTION = re.compile(r"\[[A-Za-z]+\]")
_TARGET = re.compile(r"#\s*(\S+), rendered by podvm-build")


def about_target(target: Target, *, phases: bool | None = None, epoch: int | None = None) -> About:
    """Return what a target says of an image."""
    return About(
        arch=target.arch,
        tee=target.tee,
        cloud=target.cloud,
        variant=target.variant,
        features=target.features,
        phases=phases,
        epoch=epoch,
    )


def about_plan(plan: Plan) -> About:
    """Return what a plan says of the image that it makes."""
    return about_target(plan.target, phases=plan.measure.phases, epoch=plan.image.source_date_epoch)


def about_manifest(manifest: ImageManifest) -> About:
    """Return what a build's manifest says of its image."""
    return about_target(Target.parse(manifest.target), phases=bool(manifest.phases), epoch=manifest.source_date_epoch)


def image_subject(name: str, disk: BinaryReader, about: About) -> Subject:
    """Look into a disk image, or a lone UKI.

    Raises:
        FormatError: it is damaged, or none.
        Unsupported: its root file system cannot be read here.
    """
    artifacts = read_boot_artifacts(disk, arch=about.arch)
    cmdline = artifacts.uki.text(".cmdline").split(b"\0")[0].decode("ascii", "replace")
    root = None if artifacts.gpt is None else open_root(disk, artifacts.gpt)
    return Subject(
        name=name,
        kind="image",
        about=about,
        files=None if root is None else Files(root, cmdline=cmdline, masks=masked_units(cmdline, root)),
        cmdline=cmdline,
        initrd=_initrd(artifacts.uki),
        verity=None if artifacts.gpt is None else _verity(disk, artifacts.gpt),
    )


def tree_subject(name: str, tree: ReadableTree, about: About, *, cmdline: str | None = None) -> Subject:
    """Take a root file system that was copied or unpacked: owners and times are those of whoever did.

    Raises:
        FormatError, Unsupported: the tree cannot be read.
    """
    files = Files(tree, cmdline=cmdline or "", masks=masked_units(cmdline or "", tree))
    return Subject(name=name, kind="tree", about=about, files=files, cmdline=cmdline, owners=False)


def recipe_subject(name: str, recipe: RecipeTree, about: About) -> Subject:
    """Take a rendered recipe: its settings, and the files that it adds to its packages."""
    extra = {
        path.removeprefix(_EXTRA): MemoryFile(data=file.data, mode=file.mode)
        for path, file in recipe.items()
        if path.startswith(_EXTRA)
    }
    settings = parse_settings(recipe["mkosi.conf"].data.decode("utf-8", "replace"))
    return Subject(
        name=name,
        kind="recipe",
        about=about,
        files=Files(MemoryTree(extra)),
        cmdline=" ".join(settings.get("KernelCommandLine", ())),
        settings=settings,
        recipe=recipe,
        owners=False,
    )


def recipe_target(recipe: RecipeTree) -> Target | None:
    """Return the target that a recipe was rendered for, which its first line names; None if it does not."""
    match = _TARGET.match(recipe["mkosi.conf"].data.decode("utf-8", "replace"))
    return Target.parse(match[1]) if match else None


def guess_variant(tree: ReadableTree, about: About) -> About:
    """Take the variant from the image's name in os-release, for a tree of which nothing else is known."""
    linked = LinkedTree(tree)
    found = linked.resolve("etc/os-release")
    text = "" if found is None or found[1].kind is not Kind.FILE else linked.text(found[0])
    match = re.search(r'^IMAGE_ID="?([a-z-]+)"?$', text, re.MULTILINE)
    return replace(about, variant="debug") if match and "debug" in match[1].split("-") else about


def parse_settings(text: str) -> dict[str, tuple[str, ...]]:
    """Return the values of every key of an mkosi configuration; those behind a key are indented.

    Specification: mkosi(1), "Configuration settings": an empty value takes those before it back, `%%` stands for `%`.
    """
    found: dict[str, tuple[str, ...]] = {}
    key = ""
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith(("#", ";")) or _SECTION.fullmatch(line.strip()):
            continue
        if not line[0].isspace():
            key, _, value = line.partition("=")
            key = key.strip()
            if not value.strip():
                found[key] = ()
                continue
        else:
            value = line
        found[key] = (*found.get(key, ()), value.strip().replace("%%", "%"))
    return found


def _initrd(uki: Uki) -> Initrd | None:
    section = uki.sections.get(".initrd")
    return None if section is None else Initrd(section)


def _verity(disk: BinaryReader, gpt: Gpt) -> VerityFacts:
    found = {}
    for name, types in (("root", ROOT_TYPES), ("verity", _VERITY_TYPES)):
        matching = [partition for partition in gpt.partitions if partition.type in types]
        if len(matching) == 1:
            found[name] = matching[0]
    partitions = {name: partition.id.hex for name, partition in found.items()}
    if len(found) != 2:
        return VerityFacts(partitions=partitions, computed=None, reason="there is no hash partition beside it")
    root, hashes = (window(disk, found[name].offset, found[name].size) for name in ("root", "verity"))
    try:
        computed = root_hash(root, parse_verity(hashes)).hex()
    except FormatError as error:
        return VerityFacts(partitions=partitions, computed=None, reason=error.message)
    return VerityFacts(partitions=partitions, computed=computed, reason="")
