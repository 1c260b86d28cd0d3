"""What mkosi's sandbox says about package sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from podvm_builder.build.mkosi import write_sandbox
from podvm_builder.tools.mirror import Mirrors

MIRRORS = Mirrors(
    archive="http://mirror.example/debian", security=None, options=(("Acquire::Retries", "3"),), origin="a test"
)
SOURCES = "etc/apt/sources.list.d/mkosi.sources"


@pytest.mark.parametrize(("distribution", "release"), [("ubuntu", "noble"), ("fedora", "43")])
def test_debians_archive_is_no_source_of_another_distribution(tmp_path: Path, distribution: str, release: str) -> None:
    write_sandbox(tmp_path, MIRRORS, distribution=distribution, release=release, repositories=["main"])
    assert not (tmp_path / SOURCES).exists()
    assert "Acquire::Retries" in (tmp_path / "etc/apt/apt.conf.d/90podvm-build").read_text()


def test_debian_takes_its_packages_from_the_mirror(tmp_path: Path) -> None:
    write_sandbox(tmp_path, MIRRORS, distribution="debian", release="trixie", repositories=["main"])
    assert "http://mirror.example/debian" in (tmp_path / SOURCES).read_text()
