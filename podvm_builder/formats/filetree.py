"""What a file system or an archive holds, as far as looking into an image needs it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

MAX_ENTRIES = 1 << 20
"""Names of one tree that are credible; a desktop's root has a fifth of that."""


class Kind(StrEnum):
    """What a name stands for."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """One name of a folder."""

    name: str
    kind: Kind
    size: int = 0
    """Bytes of a file."""
    target: str = ""
    """Of a symbolic link."""


class FileTree(Protocol):
    """Folders by path. Symbolic links on the way are not followed: paths are those of the disk."""

    def list(self, path: str) -> tuple[TreeEntry, ...]:
        """Return what a folder holds; nothing where there is no such folder.

        Args:
            path: names separated by ``/``; empty for the root.

        Raises:
            FormatError: the structures are damaged.
            Unsupported: they are compressed in a way that cannot be read here.
        """
        ...


def find(tree: FileTree, path: str) -> TreeEntry | None:
    """Return what stands at a path, None where nothing does."""
    folder, _, name = path.rpartition("/")
    return next((entry for entry in tree.list(folder) if entry.name == name), None)
