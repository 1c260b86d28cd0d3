"""A tools tree as an oracle: that of PODVM_TEST_TOOLS, or the newest in the cache; tests skip without one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from podvm_builder.errors import Lacking
from podvm_builder.tools.cache import default_cache
from podvm_builder.tools.sandbox import Bind
from podvm_builder.tools.tree import ToolsTree


def tree_root() -> Path:
    """Return the tree's folder."""
    named = os.environ.get("PODVM_TEST_TOOLS")
    trees = sorted(default_cache().glob("tools/*/tree"), key=lambda tree: tree.stat().st_mtime, reverse=True)
    for root in [*([Path(named)] if named else []), *trees]:
        if (root / "usr/bin").is_dir():
            return root
    pytest.skip("no tools tree: neither PODVM_TEST_TOOLS nor the cache has one")


class Oracle:
    """Programs of a tools tree, run on the files of one folder, which they see as /mnt/x."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = ToolsTree(root=tree_root(), spec_id="", packages_digest="", versions={}, archive=None)

    def path(self, inside: str) -> Path:
        """Return a file of the tree; skip where it is absent."""
        found = self.tree.root / inside.lstrip("/")
        if not found.exists():
            pytest.skip(f"the tools tree has no {inside}")
        return found

    def run(self, program: str, *args: str) -> bytes:
        """Run a program and return its standard output; skip where the machine does not allow the sandbox."""
        return self.finish(program, *args).stdout

    def finish(self, program: str, *args: str) -> subprocess.CompletedProcess[bytes]:
        """Run a program that must succeed and return all that it wrote; skip as :meth:`run` does."""
        done = self.attempt(program, *args)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done

    def attempt(self, program: str, *args: str) -> subprocess.CompletedProcess[bytes]:
        """Run a program that may fail; skip as :meth:`run` does."""
        self.path(program)
        command: Sequence[str] = (program, *args)
        try:
            done: subprocess.CompletedProcess[bytes] = self.tree.run(
                command, binds=[Bind(host=self.folder, inside="/mnt/x")], cwd="/mnt/x", timeout=120
            )
        except Lacking as error:
            pytest.skip(f"the tools tree cannot be entered here: {error.message}")
        return done
