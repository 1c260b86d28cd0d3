"""Debian's OVMF, where a tools tree has been made on this machine; tests that want it skip otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podvm_builder.tools.cache import default_cache

OVMF = Path("usr/share/ovmf/OVMF.fd")


def debian_ovmf() -> Path:
    """Return OVMF.fd of the newest tools tree, of the one that PODVM_TEST_TOOLS names, or of this host."""
    named = os.environ.get("PODVM_TEST_TOOLS")
    trees = sorted(default_cache().glob("tools/*/tree"), key=lambda tree: tree.stat().st_mtime, reverse=True)
    for root in [*([Path(named)] if named else []), *trees, Path("/")]:
        if (root / OVMF).is_file():
            return root / OVMF
    pytest.skip("no OVMF.fd: neither a tools tree nor Debian's package ovmf is here")
