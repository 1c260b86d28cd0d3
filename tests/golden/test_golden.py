"""What is committed under tests/golden is what the program makes; `make golden` writes it anew."""

from __future__ import annotations

import os

import pytest

from tests.golden.regenerate import FOLDER, GOLDEN


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    path = FOLDER / name
    made = GOLDEN[name]()
    if os.environ.get("GOLDEN_UPDATE"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made)
    assert made.decode() == path.read_text(encoding="utf-8"), "if this is meant: `make golden`, and say why"


def test_nothing_is_left_over() -> None:
    found = {path.relative_to(FOLDER).as_posix() for path in (FOLDER / "plans").iterdir()}
    assert found == {name for name in GOLDEN if name.startswith("plans/")}
