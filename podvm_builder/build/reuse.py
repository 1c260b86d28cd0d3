"""Each image is made once: an output folder that holds it already gives it to the next build."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from podvm_builder.errors import FormatError
from podvm_builder.formats.manifest import manifest_from_json
from podvm_builder.model.layout import MANIFEST, RAW, UKI
from podvm_builder.model.manifest import FileRecord, ImageManifest
from podvm_builder.model.recipe import RecipeTree, recipe_digest
from podvm_builder.tools.files import sha256_file, writing
from podvm_builder.tools.tree import ToolsTree

LOG = "logs/mkosi.log"


def find_image(folder: Path, recipe: RecipeTree, tree: ToolsTree) -> ImageManifest | None:
    """Return the manifest of a folder whose image is the one that a recipe gives with a tools tree, or None.

    The recipe's digest says what the image is made of, and the tree's what with; the files are read whole, so that a
    damaged one is built again.
    """
    try:
        manifest = manifest_from_json(json.loads((folder / MANIFEST).read_bytes()))
        made_of = (manifest.recipe, manifest.tools.get("packages"))
        whole = all(_is(folder / name, manifest.files[name]) for name in (RAW, UKI)) and (folder / LOG).is_file()
    except (OSError, ValueError, RecursionError, KeyError, FormatError):
        return None
    return manifest if whole and made_of == (recipe_digest(recipe), tree.packages_digest) else None


def take_image(folder: Path, new: Path) -> None:
    """Have the image of one output folder in another too, with the log of its build.

    Raises:
        Lacking: PVB321 or PVB322.
    """
    with writing(new):
        (new / LOG).parent.mkdir()
        for name in (RAW, UKI, LOG):
            try:
                os.link(folder / name, new / name)
            except OSError:  # a file system without hard links
                shutil.copyfile(folder / name, new / name)


def _is(path: Path, record: FileRecord) -> bool:
    return path.stat().st_size == record.size and sha256_file(path) == record.sha256
