"""Reading a build's output folder; what is not there or not what its name says is said in the same words everywhere."""

from __future__ import annotations

import json
from pathlib import Path

from podvm_builder.errors import FormatError, InputError, Place
from podvm_builder.formats.documents import MAX_DOCUMENT
from podvm_builder.formats.manifest import manifest_from_json
from podvm_builder.model.layout import MANIFEST
from podvm_builder.model.manifest import ImageManifest
from podvm_builder.tools.inputs import open_input
from podvm_builder.tools.unreadable import unreadable

CODE = "PVB500"
_HINT = "give the folder that `podvm-build build` printed, or build the target again"


def output_file(folder: Path, name: str) -> Path:
    """Return the path of a file of the folder.

    Raises:
        InputError: PVB500, there is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        raise InputError(f"`{folder}` is not a folder", code=CODE, hint=_HINT)
    path = folder / name
    if not path.is_file():
        raise InputError(f"`{folder}` has no `{name}`", code=CODE, hint=_HINT)
    return path


def read_output(folder: Path, name: str) -> bytes:
    """Return a document of the folder, at most one byte more than a document may have.

    Raises:
        InputError: PVB500, it is absent or unreadable.
    """
    path = output_file(folder, name)
    # what the name stands for may have changed since: a FIFO would never begin
    try:
        with open_input(path, code=CODE) as file:
            return file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise unreadable(path, error, code=CODE) from None


def read_manifest(folder: Path) -> ImageManifest:
    """Return the manifest of the folder.

    Raises:
        InputError: PVB500, it is absent or unreadable.
        FormatError: PVB500, it is not a manifest; the place names the file.
    """
    path = folder / MANIFEST
    try:
        return manifest_from_json(json.loads(read_output(folder, MANIFEST)))
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"not JSON: {error}") from error
    except FormatError as error:
        raise damaged(path, error.what) from error


def damaged(path: Path, what: str) -> FormatError:
    """Return the error about a document that is not what its name says."""
    error = FormatError(what, code=CODE, hint="build the target again")
    error.place = Place(file=str(path))
    return error
