"""Owners, times, capabilities and large files, in each of the file systems."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.formats.erofs import Erofs
from podvm_builder.formats.filetree import Kind, ReadableTree, find, walk
from podvm_builder.formats.memory_tree import MemoryFile, MemoryTree
from podvm_builder.formats.readers import BytesReader
from podvm_builder.formats.squashfs import Squashfs
from tests.support.trees import Files, Program, Special, build_erofs, build_squashfs

BIG = b"".join(b"%07d\n" % number for number in range(60_000))
FILES: dict[str, bytes | str] = {
    "usr/bin/ping": Special(b"program"),
    "usr/bin/true": Program(b"program"),
    "usr/lib/big": BIG,
    "bin": "usr/bin",
}


def squashfs(files: Files) -> ReadableTree:
    """Make a squashfs."""
    return Squashfs(BytesReader(build_squashfs(files)))


def erofs(files: Files) -> ReadableTree:
    """Make an EROFS."""
    return Erofs(BytesReader(build_erofs(files)))


def memory(files: Files) -> ReadableTree:
    """Make a tree of the same files in memory."""
    return MemoryTree(
        {
            path: MemoryFile(target=content)
            if isinstance(content, str)
            else MemoryFile(data=content, mode=0o4751, owner=7, group=7, changed=9, capabilities=True)
            if isinstance(content, Special)
            else MemoryFile(data=content, mode=0o755 if isinstance(content, Program) else 0o644)
            for path, content in files.items()
        }
    )


every = pytest.mark.parametrize("make", [squashfs, erofs, memory])


@every
def test_attributes(make: Callable[[Files], ReadableTree]) -> None:
    tree = make(FILES)
    special, plain, link, folder = (find(tree, path) for path in ("usr/bin/ping", "usr/bin/true", "bin", "usr"))
    assert special is not None and plain is not None and link is not None and folder is not None
    assert (special.mode, special.owner, special.group, special.changed) == (0o4751, 7, 7, 9)
    assert special.capabilities
    assert (plain.mode, plain.owner, plain.group, plain.capabilities) == (0o755, 0, 0, False)
    assert (link.kind, link.mode, link.target) == (Kind.LINK, 0, "usr/bin")
    assert (folder.kind, folder.mode) == (Kind.FOLDER, 0o755)
    assert tree.read("usr/bin/ping") == b"program"


@every
def test_a_large_file_is_read_piece_by_piece(make: Callable[[Files], ReadableTree]) -> None:
    file = make(FILES).open("usr/lib/big")
    assert file.size == len(BIG)
    for offset, length in ((0, 8), (131_068, 16), (len(BIG) - 5, 5), (0, len(BIG)), (7, 0)):
        assert file.read_at(offset, length) == BIG[offset : offset + length]
    with pytest.raises(FormatError):
        file.read_at(len(BIG) - 1, 2)
    for path in ("usr/lib", "bin", "absent", "usr/bin/true/x"):
        with pytest.raises(FormatError, match="no file"):
            make(FILES).open(path)


@every
def test_walking_names_folders_before_what_they_hold(make: Callable[[Files], ReadableTree]) -> None:
    paths = [path for path, _ in walk(make(FILES))]
    assert sorted(paths) == ["bin", "usr", "usr/bin", "usr/bin/ping", "usr/bin/true", "usr/lib", "usr/lib/big"]
    assert all(paths.index(os.path.dirname(path)) < at for at, path in enumerate(paths) if "/" in path)  # noqa: PTH120
