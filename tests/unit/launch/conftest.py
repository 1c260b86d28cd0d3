"""Real firmware, where a tools tree is at hand."""

from __future__ import annotations

import pytest

from tests.support.real_firmware import debian_ovmf as find_debian_ovmf


@pytest.fixture(scope="session")
def debian_ovmf() -> bytes:
    """OVMF.fd of Debian."""
    return find_debian_ovmf().read_bytes()
