"""The guest's documents that a profile names: from its folder to checked values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from podvm_builder.errors import InputError, Place
from podvm_builder.tools.inputs import open_input

if TYPE_CHECKING:
    from podvm_builder.guest.config import Document
    from podvm_builder.planning.ask import Chosen

_MAX_BYTES = 1 << 20


def load_documents(chosen: Chosen, base: Path) -> tuple[Document, ...]:
    """Read and check the documents that a profile names.

    Args:
        chosen: which they are.
        base: the folder that their paths are relative to, and may not lead out of.

    Raises:
        InputError: PVB113, a path leads out of the folder; PVB124, a document cannot be read or is too large.
        InputErrors: PVB418 to PVB420, as :func:`podvm_builder.guest.config.check_documents`.
    """
    from podvm_builder.cli.source import inside
    from podvm_builder.guest.config import Document, check_documents

    documents = tuple(
        Document(kind=kind, file=path, data=_read(inside(base, path), path, place))
        for kind, path, place in chosen.files
    )
    check_documents(documents)
    return documents


def _read(path: Path, name: str, place: Place) -> bytes:
    with open_input(path, what=f"`{name}`", code="PVB124", place=place) as file:
        data = file.read(_MAX_BYTES + 1)
    if not data or len(data) > _MAX_BYTES:
        what = f"larger than {_MAX_BYTES} bytes" if data else "empty"
        raise InputError(f"`{name}` is {what}", code="PVB124", place=place)
    return data
