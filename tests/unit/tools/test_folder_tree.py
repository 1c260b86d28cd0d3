"""Folders as file trees: what is seen, what is never followed, and what may not be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.formats.compression import Unsupported
from podvm_builder.formats.filetree import Kind, find, walk
from podvm_builder.tools import folder_tree
from podvm_builder.tools.folder_tree import FolderTree, read_recipe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one of each kind."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/x").write_bytes(b"text")
    (root / "etc/x").chmod(0o4640)
    (root / "etc/out").symlink_to(tmp_path)
    (root / "etc/file").symlink_to("x")
    os.mkfifo(root / "etc/fifo")
    (tmp_path / "secret").write_text("outside")
    return root


def test_what_is_there(folder: Path) -> None:
    tree = FolderTree(folder)
    assert [path for path, _ in walk(tree)] == ["etc", "etc/fifo", "etc/file", "etc/out", "etc/x"]
    entry = find(tree, "etc/x")
    assert entry is not None
    assert (entry.kind, entry.size, entry.mode, entry.owner) == (Kind.FILE, 4, 0o4640, os.getuid())
    link = find(tree, "etc/file")
    assert link is not None
    assert (link.kind, link.target, link.mode) == (Kind.LINK, "x", 0)
    fifo = find(tree, "etc/fifo")
    assert fifo is not None and fifo.kind is Kind.OTHER
    assert tree.read("etc/x") == tree.open("/etc//x").read_at(0, 4) == b"text"


def test_nothing_is_followed_out_of_it(folder: Path) -> None:
    tree = FolderTree(folder)
    assert tree.list("etc/out") == ()
    for path in ("etc/out/secret", "etc/file", "etc/fifo", "etc", "gone"):
        with pytest.raises(FormatError, match="no file"):
            tree.read(path)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read all")
def test_what_may_not_be_read(folder: Path) -> None:
    (folder / "etc/x").chmod(0)
    with pytest.raises(Unsupported, match="Permission denied"):
        FolderTree(folder).read("etc/x")
    (folder / "etc").chmod(0)
    with pytest.raises(Unsupported, match="Permission denied"):
        FolderTree(folder).list("etc")
    (folder / "etc").chmod(0o755)


def test_what_cannot_be_opened_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder_tree.os, "open", refuse)
    with pytest.raises(Unsupported, match="`/etc/x`: Permission denied"):
        FolderTree(folder).read("etc/x")


def test_a_large_file_is_no_text(folder: Path) -> None:
    (folder / "etc/big").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(FormatError, match="more than"):
        FolderTree(folder).read("etc/big")
    assert FolderTree(folder).open("etc/big").size == (1 << 20) + 1


def test_a_recipe(folder: Path) -> None:
    (folder / "mkosi.conf").write_text("[Output]\n")
    (folder / "script").write_text("#!/bin/sh\n")
    (folder / "script").chmod(0o755)
    recipe = read_recipe(folder)
    assert list(recipe) == ["etc/x", "mkosi.conf", "script"]
    assert (recipe["script"].data, recipe["script"].mode) == (b"#!/bin/sh\n", 0o755)
