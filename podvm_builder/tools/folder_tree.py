"""A folder of this machine as a file tree: nothing in it is followed out of it, opened as a device, or waited for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from podvm_builder.errors import FormatError
from podvm_builder.formats.compression import Unsupported
from podvm_builder.formats.filetree import MAX_FILE, Kind, TreeEntry
from podvm_builder.formats.readers import BytesReader
from podvm_builder.model.recipe import RecipeFile, RecipeTree

_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.FOLDER, stat.S_IFLNK: Kind.LINK}
_MAX_OPENED = 256 << 20
"""Bytes of a program or library."""


class FolderTree:
    """Folders by path, as a :class:`~podvm_builder.formats.filetree.ReadableTree`.

    What this user may not read is :class:`~podvm_builder.formats.compression.Unsupported`: a rule then says that it
    was not applied.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder that stands for the root."""
        self._folder = folder

    def list(self, path: str) -> tuple[TreeEntry, ...]:
        """See :class:`~podvm_builder.formats.filetree.FileTree`."""
        folder = self._place(path)
        if folder is None or not folder.is_dir():
            return ()
        try:
            with os.scandir(folder) as entries:
                return tuple(_entry(entry) for entry in entries)
        except PermissionError as error:
            raise Unsupported(f"`/{path}`: {error.strerror}") from None

    def open(self, path: str) -> BytesReader:
        """See :class:`~podvm_builder.formats.filetree.ReadableTree`."""
        return BytesReader(self._data(path, _MAX_OPENED))

    def read(self, path: str) -> bytes:
        """See :class:`~podvm_builder.formats.filetree.ReadableTree`."""
        return self._data(path, MAX_FILE)

    def _data(self, path: str, limit: int) -> bytes:
        place = self._place(path)
        if place is None or not place.is_file():
            raise FormatError(f"folder: no file `{path}`", code="PVB256")
        try:
            # a FIFO that took the file's place must not keep us waiting
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as error:
            raise Unsupported(f"`/{path}`: {error.strerror}") from None
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise FormatError(f"folder: `{path}` has more than {limit} bytes", code="PVB256")
        return data

    def _place(self, path: str) -> Path | None:
        """Return a path below the folder; None where a symbolic link stands on the way or at the end."""
        place = self._folder
        for part in [part for part in path.split("/") if part]:
            place = place / part
            if place.is_symlink():
                return None
        return place


def read_recipe(folder: Path) -> RecipeTree:
    """Read a recipe that was written to a folder.

    Raises:
        Unsupported: a file may not be read.
        FormatError: a file is larger than is credible.
    """
    tree = FolderTree(folder)
    found: dict[str, RecipeFile] = {}
    todo = [""]
    while todo:
        path = todo.pop()
        for entry in tree.list(path):
            below = f"{path}/{entry.name}" if path else entry.name
            if entry.kind is Kind.FOLDER:
                todo.append(below)
            elif entry.kind is Kind.FILE:
                found[below] = RecipeFile(data=tree.open(below).read_at(0, entry.size), mode=entry.mode)
    return {path: found[path] for path in sorted(found)}


def _entry(entry: os.DirEntry[str]) -> TreeEntry:
    status = entry.stat(follow_symlinks=False)
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), Kind.OTHER)
    return TreeEntry(
        name=entry.name,
        kind=kind,
        size=status.st_size if kind is Kind.FILE else 0,
        mode=0 if kind is Kind.LINK else stat.S_IMODE(status.st_mode),
        target=os.readlink(entry.path) if kind is Kind.LINK else "",  # noqa: PTH115 - scandir gives texts
        owner=status.st_uid,
        group=status.st_gid,
        changed=int(status.st_mtime),
        capabilities=kind is Kind.FILE and _has_capabilities(entry.path),
    )


def _has_capabilities(path: str) -> bool:
    try:
        return "security.capability" in os.listxattr(path, follow_symlinks=False)
    except OSError:
        return False  # a file system without extended attributes has none
