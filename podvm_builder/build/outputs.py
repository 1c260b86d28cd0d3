"""From mkosi's output to a build's output folder: which files, what they are, and what they were made from."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from podvm_builder.errors import BuildFailed
from podvm_builder.formats.uki import parse_uki
from podvm_builder.guest.payload import PHASES
from podvm_builder.model.layout import RAW, UKI
from podvm_builder.model.manifest import ComponentRecord, FileRecord, ImageManifest, PackageRecord
from podvm_builder.model.plan import Plan
from podvm_builder.model.recipe import RecipeTree, recipe_digest
from podvm_builder.tools.files import FileReader, move_file, sha256_file, writing
from podvm_builder.tools.tree import ToolsTree, require

_MKOSI_MANIFEST = "image.manifest"
_ROOT_HASH = re.compile(rb"(?:^|\s)roothash=([0-9a-f]{64,128})(?=\s|\0|$)")


def collect(made: Path, folder: Path) -> None:
    """Move the image and its UKI from mkosi's output into a folder.

    Raises:
        BuildFailed: PVB413, mkosi made something else.
        Lacking: PVB321 or PVB322.
    """
    for name in (RAW, UKI):
        source = made / name
        if not source.is_file():
            raise _unexpected(f"made no `{name}`")
        # mkosi leaves a link where it added a version to the name
        move_file(source.resolve(), folder / name)


def read_packages(made: Path) -> tuple[PackageRecord, ...]:
    """Return the image's packages from mkosi's manifest, sorted.

    Raises:
        BuildFailed: PVB413, there is none, or it is not what mkosi 25 writes.
    """
    try:
        rows: list[dict[str, Any]] = json.loads((made / _MKOSI_MANIFEST).read_bytes())["packages"]
        found = {PackageRecord(name=row["name"], version=row["version"], arch=row["architecture"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        raise _unexpected(f"made no `{_MKOSI_MANIFEST}` with the packages") from None
    return tuple(sorted(found, key=lambda package: (package.name, package.arch, package.version)))


def read_root_hash(uki: Path) -> str:
    """Return the root hash of dm-verity that stands in the UKI's command line, hex.

    Raises:
        BuildFailed: PVB413, there is none.
        FormatError: the file is no UKI.
    """
    with FileReader(uki) as reader:
        match = _ROOT_HASH.search(parse_uki(reader).text(".cmdline"))
    if match is None:
        raise _unexpected(f"made a `{UKI}` without root hash")
    return match[1].decode()


def make_manifest(
    plan: Plan,
    recipe: RecipeTree,
    *,
    folder: Path,
    packages: tuple[PackageRecord, ...],
    components: tuple[ComponentRecord, ...],
    tree: ToolsTree,
) -> ImageManifest:
    """Return what was built in ``folder`` from a plan."""
    return ImageManifest(
        target=str(plan.target),
        profile=plan.profile,
        ids=plan.ids,
        recipe=recipe_digest(recipe),
        flags=flags(plan, components),
        root_hash=read_root_hash(folder / UKI),
        root_format=plan.image.root_format,
        phases=PHASES if plan.measure.phases else (),
        platform=plan.platform,
        evidence=plan.evidence,
        trust=plan.trust,
        source_date_epoch=plan.image.source_date_epoch,
        tools={
            "spec": tree.spec_id,
            "packages": tree.packages_digest,
            "mkosi": require(tree, "mkosi"),
            "systemd": require(tree, "systemd"),
        },
        files={
            name: FileRecord(size=(folder / name).stat().st_size, sha256=sha256_file(folder / name))
            for name in (RAW, UKI)
        },
        packages=packages,
        components=components,
        suppressions=plan.suppressions,
    )


def flags(plan: Plan, components: tuple[ComponentRecord, ...]) -> tuple[str, ...]:
    """Return what a verifier must know of an image.

    Some of its agents are stand-ins; it can be logged into; where some of its agents came from was not verified.
    """
    origins = {component.verification for component in components}
    said = (
        ("selftest", "selftest" in origins),
        ("debug", plan.target.variant == "debug"),
        ("unverified-components", "unverified" in origins),
    )
    return tuple(flag for flag, holds in said if holds)


def settle(folder: Path) -> None:
    """Give every file of a folder its mode, whatever the umask is, and have it on the disk before it is shown.

    Raises:
        Lacking: PVB321, the disk is full.
    """
    with writing(folder):
        for path in [*folder.rglob("*"), folder]:
            path.chmod(0o755 if path.is_dir() else 0o644)
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def _unexpected(what: str) -> BuildFailed:
    return BuildFailed(
        f"mkosi ended well but {what}", code="PVB413", hint="the recipe's [Output] section decides what is made"
    )
