"""What starting costs: the commands that must be quick import nothing heavy."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

HEAVY = {"pydantic", "yaml", "jinja2", "requests", "rich", "cryptography"}


def imported(*arguments: str) -> set[str]:
    """Return the top-level modules that one command line imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "podvm_builder", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return {match.split(".")[0] for match in re.findall(r"^import time:.*\|\s+(\S+)$", done.stderr, re.MULTILINE)}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["explain", "PVB100"],
        ["completion", "zsh"],
        ["refvalues", "export", "--help"],
        ["measure", "snp", "--help"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    modules = imported(*arguments)
    assert "podvm_builder" in modules
    assert modules & HEAVY == set()
