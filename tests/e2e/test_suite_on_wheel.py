"""The tests themselves, run against an installed wheel: nothing in the package or the tests leans on the checkout."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.packaging.test_wheel import build, install

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not (PROJECT / "pyproject.toml").is_file(), reason="there is no checkout to package"),
]


def test_the_tests_pass_on_an_installed_wheel(tmp_path: Path) -> None:
    program = install(build(tmp_path / "dist"), tmp_path / "venv")
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = [
        needed
        for name, extra in project["project"]["optional-dependencies"].items()
        if name != "all"
        for needed in extra
    ]
    dev = project["dependency-groups"]["dev"]
    subprocess.run([str(program.with_name("pip")), "install", "--quiet", *extras, *dev], check=True)
    folder = tmp_path / "elsewhere"
    # the tests and pytest's settings, and none of the checkout's package, documents or recipes
    shutil.copytree(PROJECT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", folder)
    arguments = ["-q", "-n", "2", "-m", "not image and not e2e", "--ignore", "tests/packaging"]
    done = subprocess.run(
        [str(program.with_name("python")), "-m", "pytest", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
