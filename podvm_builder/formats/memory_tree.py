"""A file tree that is held in memory: the files of a recipe, and what tests make up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from podvm_builder.errors import FormatError
from podvm_builder.formats.filetree import MAX_FILE, Kind, TreeEntry
from podvm_builder.formats.readers import BytesReader


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFile:
    """A file, folder or symbolic link."""

    data: bytes = b""
    target: str | None = None
    """Of a symbolic link."""
    folder: bool = False
    mode: int = 0o644
    owner: int = 0
    group: int = 0
    changed: int = 0
    capabilities: bool = False


class MemoryTree:
    """Files by path, as a :class:`~podvm_builder.formats.filetree.ReadableTree`."""

    def __init__(self, files: Mapping[str, MemoryFile]) -> None:
        """Take the files; folders on the way to them need not be named.

        Args:
            files: path without the leading slash to what stands there.
        """
        self._files = dict(files)
        self._folders: dict[str, dict[str, TreeEntry]] = {"": {}}
        for path, file in files.items():
            above, _, name = path.rpartition("/")
            self._make(above)
            if file.folder:
                self._folders.setdefault(path, {})
            self._folders[above][name] = _entry(name, file)

    def list(self, path: str) -> tuple[TreeEntry, ...]:
        """See :class:`~podvm_builder.formats.filetree.FileTree`."""
        return tuple(self._folders.get(_clean(path), {}).values())

    def open(self, path: str) -> BytesReader:
        """See :class:`~podvm_builder.formats.filetree.ReadableTree`."""
        file = self._files.get(_clean(path))
        if file is None or file.folder or file.target is not None:
            raise FormatError(f"file tree: no file `{path}`", code="PVB256")
        return BytesReader(file.data)

    def read(self, path: str) -> bytes:
        """See :class:`~podvm_builder.formats.filetree.ReadableTree`."""
        data = self.open(path)
        if data.size > MAX_FILE:
            raise FormatError(f"file tree: `{path}` has {data.size} bytes", code="PVB256")
        return data.read_at(0, data.size)

    def _make(self, folder: str) -> None:
        parts = folder.split("/") if folder else []
        for depth, name in enumerate(parts):
            above = "/".join(parts[:depth])
            path = "/".join(parts[: depth + 1])
            if path not in self._folders:
                self._folders[path] = {}
                self._folders[above].setdefault(name, TreeEntry(name=name, kind=Kind.FOLDER, mode=0o755))


def _clean(path: str) -> str:
    return "/".join(part for part in path.split("/") if part)


def _entry(name: str, file: MemoryFile) -> TreeEntry:
    kind = Kind.LINK if file.target is not None else Kind.FOLDER if file.folder else Kind.FILE
    mode = file.mode
    if kind is not Kind.FILE:
        mode = 0 if kind is Kind.LINK else mode
    return TreeEntry(
        name=name,
        kind=kind,
        size=len(file.data) if kind is Kind.FILE else 0,
        mode=mode,
        target=file.target or "",
        owner=file.owner,
        group=file.group,
        changed=file.changed,
        capabilities=file.capabilities,
    )
