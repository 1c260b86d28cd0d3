"""Real firmware: of the tools tree, or fetched through the mirror; tests skip where it is not to be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.tools.cache import default_cache, open_cache
from podvm_builder.tools.firmware import NotAtHand, get_firmware
from podvm_builder.tools.mirror import find_mirrors
from podvm_builder.tools.tree import load_tree

OVMF = Path("usr/share/ovmf/OVMF.fd")


def debian_ovmf() -> Path:
    """Return OVMF.fd of the newest tools tree, of the one that PODVM_TEST_TOOLS names, or of this host."""
    named = os.environ.get("PODVM_TEST_TOOLS")
    trees = sorted(default_cache().glob("tools/*/tree"), key=lambda tree: tree.stat().st_mtime, reverse=True)
    for root in [*([Path(named)] if named else []), *trees, Path("/")]:
        if (root / OVMF).is_file():
            return root / OVMF
    pytest.skip("no OVMF.fd: neither a tools tree nor Debian's package ovmf is here")


def pinned_firmware(name: str) -> bytes:
    """Return a firmware of the catalogue that is fetched through the mirror, of a build that the catalogue knows.

    Skips where no tools tree is here, the mirror does not answer, or the archive has moved on to another build.
    """
    cache = open_cache(None)
    tree = load_tree(cache, catalogue().tools.id)
    if tree is None:
        pytest.skip("no tools tree to fetch firmware with: podvm-build tools make")
    mirrors = find_mirrors(None, suite=catalogue().tools.suite)
    found = get_firmware(name, tree=tree, cache=cache, mirrors=mirrors, progress=lambda line: None)
    if isinstance(found, NotAtHand):
        pytest.skip(f"{name} is not at hand: {found.reason}")
    if not found.known:
        pytest.skip(f"the archive's {name} is a build that the catalogue does not know: {found.sha256}")
    return found.data
