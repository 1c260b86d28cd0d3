"""Boots of a real image through the command line, and the tables that are made of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import PROJECT

BANKS = ("sha1", "sha256", "sha384")

RESULTS = PROJECT / "build" / "e2e"
"""Where each boot's row is kept until `scripts/boot_tables.py` makes tables of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What one call of `podvm-build boot` gave."""

    code: int
    document: Mapping[str, Any]
    talk: str
    """Its standard error."""

    @property
    def different(self) -> frozenset[int]:
        """PCRs that are not as predicted, in any bank."""
        return frozenset(int(row["register"][-2:]) for row in self.document["registers"] if row["equal"] is False)

    @property
    def equal(self) -> frozenset[tuple[int, str]]:
        """PCRs and banks that are as predicted."""
        return frozenset((int(row["register"][-2:]), row["alg"]) for row in self.document["registers"] if row["equal"])

    @property
    def compared(self) -> int:
        """How many values were predicted."""
        return sum(1 for row in self.document["registers"] if row["equal"] is not None)

    @property
    def unequal(self) -> int:
        """How many of them differ."""
        return sum(1 for row in self.document["registers"] if row["equal"] is False)

    def observed(self, pcr: int, alg: str) -> str:
        """Return a register as it was read, hex."""
        rows = [
            row for row in self.document["registers"] if (row["register"], row["alg"]) == (f"tpm.pcr{pcr:02d}", alg)
        ]
        return str(rows[-1]["observed"])


def boot(folder: Path, *options: str) -> Boot:
    """Boot a build's output."""
    command = [sys.executable, "-m", "podvm_builder", "boot", str(folder), "--format", "json", *options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return Boot(code=done.returncode, document=json.loads(done.stdout), talk=done.stderr)


def record(table: str, number: int, name: str, row: Mapping[str, Any]) -> None:
    """Keep a row of a table."""
    folder = RESULTS / table
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number:02d}-{name}.json").write_text(json.dumps(dict(row), indent=2) + "\n", encoding="utf-8")
