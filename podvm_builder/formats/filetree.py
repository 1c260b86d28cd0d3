"""What a file system or an archive holds, as far as looking into an image needs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from podvm_builder.errors import FormatError
from podvm_builder.model.reader import BinaryReader

MAX_ENTRIES = 1 << 20
"""Names of one tree that are credible; a desktop's root has a fifth of that."""


MAX_LINK = 4096
"""Bytes of a symbolic link's target: PATH_MAX."""
_MAX_LOOKS = 1 << 21
"""Names that are read of one tree, those counted again that are read again."""
_MAX_TARGETS = 16 << 20
"""Bytes of links' targets that are read of one tree."""


class Allowance:
    """What may still be read of one tree: each folder is bounded, and a crafted tree may have any number of them."""

    def __init__(self, what: str, code: str) -> None:
        """Begin with all; errors say what the tree is, and have the code."""
        self._what = what
        self._code = code
        self._names = _MAX_LOOKS
        self._targets = _MAX_TARGETS

    def name(self) -> None:
        """Count a name; FormatError where that is one too many."""
        self._names -= 1
        if self._names < 0:
            raise FormatError(f"{self._what}: more names than are credible", code=self._code)

    def target(self, size: int) -> None:
        """Count a link's target of so many bytes; FormatError where it, or all together, are too long."""
        self._targets -= size
        if size > MAX_LINK or self._targets < 0:
            raise FormatError(f"{self._what}: a symbolic link of {size} bytes, or too many", code=self._code)


class Kind(StrEnum):
    """What a name stands for."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


MAX_FILE = 1 << 20
"""Bytes of a file that are read: texts such as units, never programs."""
_MAX_TEXT = 32 << 20
"""Bytes of all texts that are read from one tree; all units of our own image have 0.16 MB."""
_MAX_PATHS = 128 << 20
"""Characters of all paths of a tree; a desktop's root has 20 million."""
_MAX_LINKS = 40
"""Symbolic links on one path, as in Linux."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """One name of a folder."""

    name: str
    kind: Kind
    size: int = 0
    """Bytes of a file."""
    mode: int = 0
    """Permission bits, those of set-user-ID, set-group-ID and sticky included; 0 of a symbolic link."""
    target: str = ""
    """Of a symbolic link."""
    owner: int = 0
    """User number."""
    group: int = 0
    """Group number."""
    changed: int = 0
    """When the content was changed last, in seconds since 1970 UTC; 0 where that is not known."""
    capabilities: bool = False
    """Whether a file has capabilities (the extended attribute ``security.capability``)."""


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


class ReadableTree(FileTree, Protocol):
    """Folders by path, and what files hold."""

    def open(self, path: str) -> BinaryReader:
        """Return a file's content, read piece by piece as it is asked for; its path is taken as in :meth:`list`.

        Raises:
            FormatError: there is no such file, or the structures are damaged.
            Unsupported: it is compressed in a way that cannot be read here.
        """
        ...

    def read(self, path: str) -> bytes:
        """Return what a file holds; its path is taken as in :meth:`list`.

        Raises:
            FormatError: there is no such file, it is larger than :data:`MAX_FILE`, or the structures are damaged.
            Unsupported: it is compressed in a way that cannot be read here.
        """
        ...


def find(tree: FileTree, path: str) -> TreeEntry | None:
    """Return what stands at a path, None where nothing does."""
    folder, _, name = path.rpartition("/")
    return next((entry for entry in tree.list(folder) if entry.name == name), None)


def walk(tree: FileTree) -> Iterator[tuple[str, TreeEntry]]:
    """Yield path and entry of everything in a tree, folders before what they hold.

    Raises:
        FormatError: the tree has more or longer names than are credible, or folders that hold themselves.
        Unsupported: see :meth:`FileTree.list`.
    """
    todo = [""]
    count = length = 0
    while todo:
        folder = todo.pop()
        prefix = f"{folder}/" if folder else ""
        for entry in sorted(tree.list(folder), key=lambda entry: entry.name):
            count += 1
            if count > MAX_ENTRIES:
                raise FormatError("file tree: more names than are credible", code="PVB256")
            path = prefix + entry.name
            length += len(path)
            # a folder that holds itself has no end, and each path in it is longer than the one before
            if len(path) > MAX_LINK or length > _MAX_PATHS:
                raise FormatError("file tree: longer paths than are credible", code="PVB256")
            yield path, entry
            if entry.kind is Kind.FOLDER:
                todo.append(path)


class LinkedTree:
    """A tree whose symbolic links are followed, as a system that runs from it does; folders are listed once."""

    def __init__(self, tree: ReadableTree) -> None:
        """Look into a tree."""
        self._tree = tree
        self._folders: dict[str, dict[str, TreeEntry]] = {}
        self._left = _MAX_TEXT

    def list(self, path: str) -> dict[str, TreeEntry]:
        """Return what a folder holds, by name; its path is that of the disk."""
        if path not in self._folders:
            self._folders[path] = {entry.name: entry for entry in self._tree.list(path)}
        return self._folders[path]

    def resolve(self, path: str) -> tuple[str, TreeEntry] | None:
        """Follow a path to its end.

        Returns:
            The path on the disk, without the leading slash, and what stands there; None where nothing does, or where
            there are more links than Linux follows. The root folder itself counts as nothing.
        """
        end, found = self.end(path)
        return None if found is None else (end, found)

    def end(self, path: str) -> tuple[str, TreeEntry | None]:
        """Follow a path as far as it leads.

        Returns:
            Where it leads, without the leading slash, and what stands there; None where nothing does: then the path
            is that of what is missing. More links than Linux follows lead nowhere.
        """
        todo = [part for part in reversed(path.split("/")) if part]
        done: list[str] = []
        links = 0
        while todo:
            part = todo.pop()
            if part in (".", ".."):
                done = done[:-1] if part == ".." else done
                continue
            entry = self.list("/".join(done)).get(part)
            if entry is None:
                return "/".join([*done, part, *reversed(todo)]), None
            if entry.kind is Kind.LINK:
                links += 1
                if links > _MAX_LINKS:
                    return path, None
                if entry.target.startswith("/"):
                    done = []
                todo += [word for word in reversed(entry.target.split("/")) if word]
            else:
                done.append(part)
        return "/".join(done), self.list("/".join(done[:-1])).get(done[-1]) if done else None

    def open(self, path: str) -> BinaryReader:
        """Return the content of a file of the disk, read as it is asked for: of programs, for instance.

        Raises:
            FormatError, Unsupported: see :meth:`ReadableTree.open`.
        """
        return self._tree.open(path)

    def text(self, path: str) -> str:
        """Return what a file of the disk holds, as text.

        Raises:
            FormatError, Unsupported: see :meth:`ReadableTree.read`; more was read than the texts of a system have.
        """
        data = self._tree.read(path)
        self._left -= len(data)
        if self._left < 0:
            raise FormatError(f"root file system: more than {_MAX_TEXT} bytes of texts", code="PVB256")
        return data.decode("utf-8", "replace")
