"""Programs of Debian packages that are in no tools tree: fetched with the tree's apt, unpacked, and run from there.

Nothing is installed, and no rights are needed. The programs run with the loader and the libraries of the tree, whatever
the host's are.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import Lacking
from podvm_builder.tools.cache import default_cache
from podvm_builder.tools.firmware import configure
from podvm_builder.tools.lock import lock
from podvm_builder.tools.mirror import find_mirrors
from podvm_builder.tools.sandbox import Bind
from podvm_builder.tools.tree import ToolsTree
from tests.support.tools_tree import tree_root

_INSIDE = "/mnt/fetch"


@cache
def command(program: str, packages: Sequence[str], suite: str | None = None) -> list[str]:
    """Return the arguments that run a program of some packages; skip where they cannot be had.

    Args:
        program: its path in its package.
        packages: the package and those of its libraries that a tools tree may lack.
        suite: Debian release that they are of; the tools tree's by default.
    """
    root = tree_root()
    folder = _unpacked(root, tuple(packages), suite or catalogue().tools.suite)
    loader = next(iter(sorted(root.glob("lib*/ld-linux*.so.*"))), None)
    if loader is None:
        pytest.skip("the tools tree has no loader that is known here")
    libraries = [str(path) for base in (folder, root) for path in sorted(base.glob("usr/lib/*-linux-gnu*"))]
    return [str(loader), "--library-path", ":".join(libraries), str(folder / program.lstrip("/"))]


@cache
def unpacked(packages: Sequence[str], suite: str, arch: str | None = None) -> Path:
    """Return the folder that packages are unpacked in, of another architecture where one is named; skip as above."""
    return _unpacked(tree_root(), tuple(packages), suite, arch)


def _unpacked(root: Path, packages: tuple[str, ...], suite: str, arch: str | None = None) -> Path:
    name = hashlib.sha256(" ".join((suite, *([arch] if arch else []), *packages)).encode()).hexdigest()[:16]
    base = default_cache().with_name("podvm-build-tests")  # no part of the product's cache
    with lock(base / f"{name}.lock", wait=lambda _pid: None):
        if not (base / name).is_dir():
            work = base / f"{name}.new"
            shutil.rmtree(work, ignore_errors=True)
            _fetch(root, suite, packages, work, arch)
            (work / "x").rename(base / name)
            shutil.rmtree(work)
    return base / name


def _fetch(root: Path, suite: str, packages: tuple[str, ...], work: Path, arch: str | None) -> None:
    mirrors = find_mirrors(None, suite=suite)
    if mirrors.archive is None:
        pytest.skip("no Debian archive is known here")
    work.mkdir(parents=True)
    configure(work, mirrors.archive, suite, mirrors)
    tree = ToolsTree(root=root, spec_id="", packages_digest="", versions={}, archive=None)

    def run(*args: str) -> None:
        try:
            done = tree.run(
                args,
                binds=[Bind(host=work, inside=_INSIDE)],
                cwd=f"{_INSIDE}/deb",
                env={"APT_CONFIG": f"{_INSIDE}/apt.conf"},
                timeout=300,
            )
        except (Lacking, subprocess.TimeoutExpired) as error:
            pytest.skip(f"packages cannot be fetched here: {error}")
        if done.returncode != 0:
            pytest.skip(f"packages cannot be fetched here: {done.stderr.decode(errors='replace')[-300:]}")

    foreign = ("-o", f"APT::Architecture={arch}", "-o", f"APT::Architectures={arch}") if arch else ()
    run("apt-get", "--quiet", *foreign, "update")
    run("apt-get", "--quiet", *foreign, "download", *packages)
    for deb in sorted((work / "deb").glob("*.deb")):
        run("dpkg-deb", "--extract", f"{_INSIDE}/deb/{deb.name}", f"{_INSIDE}/x")
