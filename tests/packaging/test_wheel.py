"""A wheel, built from the sdist and installed into a clean environment, works far from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import podvm_builder
from tests.conftest import PROJECT
from tests.support.firmware import Firmware

pytestmark = pytest.mark.skipif(not (PROJECT / "pyproject.toml").is_file(), reason="there is no checkout to package")

TARGET = "debian-13/snp/libvirt"


def files_of_package() -> set[str]:
    """Return what the package consists of in the checkout, data included."""
    package = PROJECT / "podvm_builder"
    return {
        str(file.relative_to(PROJECT))
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".")
    }


def test_wheel_and_sdist(tmp_path: Path) -> None:
    # one test, in steps: building and installing is what takes the time
    wheel = build(tmp_path / "dist")
    program = install(wheel, tmp_path / "venv")
    firmware = tmp_path / "firmware.fd"
    firmware.write_bytes(Firmware().build())

    def podvm_build(*arguments: str) -> str:
        done = subprocess.run(
            [str(program), *arguments],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    check_commands(podvm_build, str(firmware))
    assert (tmp_path / "recipe" / "mkosi.conf").is_file()


def build(dist: Path) -> Path:
    """Build the sdist, and from it the wheel; check what they hold and return the wheel."""
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(PROJECT)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "Makefile", "pyproject.toml", "tests/conftest.py"} <= names
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == files_of_package()
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel, with what it depends on and nothing else, and return the program."""
    venv.create(folder, with_pip=True)
    subprocess.run(
        [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", str(wheel)], check=True
    )
    return folder / "bin" / "podvm-build"


def check_commands(podvm_build: Callable[..., str], firmware: str) -> None:
    """Run the commands that need package data, each outside the checkout."""
    assert podvm_build("--version").split()[-1] == podvm_builder.__version__
    assert "measure" in podvm_build("--help")
    assert any(row["target"] == TARGET for row in json.loads(podvm_build("list", "targets", "--format", "json")))
    assert json.loads(podvm_build("measure", "snp", "--firmware", firmware, "--vcpus", "1,2", "--format", "json"))
    assert json.loads(podvm_build("plan", TARGET, "--format", "json"))
    podvm_build("render", TARGET, "-o", "recipe")
    assert podvm_build("explain", "PVB103").startswith("# PVB103: ")
    assert json.loads(podvm_build("schema", "profile"))["$schema"]
