"""A tools tree of a few megabytes whose mkosi is a script of the test: real namespaces and mounts, no real build."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache as once
from pathlib import Path

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import Lacking
from podvm_builder.tools import userns
from podvm_builder.tools.tree import SCHEMA, tree_folder
from tests.support.lint_image import clean_image

FOLDERS = ("dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/share/ovmf", "var/tmp")
PROGRAMS = ("sh", "cat", "cp", "mkdir", "rm", "sleep", "touch")

SUCCEED = """#!/bin/sh
for word in "$@"; do
  case $word in --output-directory=*) out=${word#*=} ;; esac
done
echo "‣ Installing Debian"
cp /usr/share/fake/image.raw "$out/image.raw"
cp /usr/share/fake/image.efi "$out/image.efi"
cp /usr/share/fake/image.manifest "$out/image.manifest"
"""
"""A mkosi whose build succeeds at once."""

MANIFEST = {"packages": [{"type": "deb", "name": "dash", "version": "0.5.12-12", "architecture": "amd64"}]}


@once
def _libraries(program: str) -> tuple[str, ...]:
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return tuple(re.findall(r"(/\S+) \(0x", said))


def make_fake_tree(cache: Path, mkosi: str = SUCCEED) -> Path:
    """Put a tree into a cache, and return its folder; skip where this machine does not let a tree be entered."""
    try:
        userns.check()
    except Lacking as error:
        pytest.skip(f"a tree cannot be entered here: {error.message}")
    folder = tree_folder(cache, catalogue().tools.id)
    tree = folder / "tree"
    for name in FOLDERS:
        (tree / name).mkdir(parents=True)
    (tree / "bin").symlink_to("usr/bin")
    for name in PROGRAMS:
        program = shutil.which(name)
        assert program is not None
        shutil.copy(program, tree / "usr/bin" / name)
        for library in _libraries(program):
            target = tree / library[1:]
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, target)
    fake = tree / "usr/share/fake"
    fake.mkdir(parents=True)
    disk, uki, _ = clean_image()
    (fake / "image.raw").write_bytes(disk)
    (fake / "image.efi").write_bytes(uki)
    (fake / "image.manifest").write_text(json.dumps(MANIFEST))
    program_in(tree, "mkosi", mkosi)
    packages = [["mkosi", "25.3-7", "all"], ["systemd", "257.13-1", "amd64"], ["ovmf", "2025.02-8", "all"]]
    record = {"schema": SCHEMA, "spec": catalogue().tools.id, "packages_digest": "ab" * 32, "installed": packages}
    (folder / "tree.json").write_text(json.dumps(record | {"archive": None}))
    return tree


def program_in(tree: Path, name: str, text: str) -> None:
    """Put a script into a tree."""
    path = tree / "usr/bin" / name
    path.write_text(text)
    path.chmod(0o755)
