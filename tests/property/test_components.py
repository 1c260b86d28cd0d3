"""Sets, locks and pin files that were damaged anyhow: a value or an error of ours, never anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import InputError
from podvm_builder.supply.incumbent import import_versions
from podvm_builder.supply.lock_document import parse_lock, render_lock
from podvm_builder.supply.set_document import parse_set
from tests.unit.supply.locks import example
from tests.unit.supply.test_incumbent import VERSIONS
from tests.unit.supply.test_set import SET

PIECES = [
    "",
    ":",
    "[]",
    "{}",
    "null",
    "1",
    "true",
    "x",
    "- ",
    "\n",
    "  ",
    '""',
    "sha256:",
    "{a: b}",
    "[1, 2]",
    "!x ",
    "&a ",
    "*a",
]


@st.composite
def damaged(draw: st.DrawFn, text: str) -> str:
    """Return a text with some words, values or lines replaced."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        length = draw(st.sampled_from([0, 1, 5, 20, 80]))
        by = draw(st.sampled_from(PIECES) | st.text(max_size=5))
        text = text[:start] + by + text[start + length :]
    return text


@st.composite
def revalued(draw: st.DrawFn, text: str) -> str:
    """Return a text in which the value behind one key is another."""
    lines = text.splitlines()
    index = draw(st.integers(0, len(lines) - 1))
    key, colon, _ = lines[index].partition(": ")
    if colon:
        lines[index] = f"{key}: {draw(st.sampled_from(PIECES))}"
    return "\n".join(lines)


@given(damaged(SET) | revalued(SET))
def test_sets(text: str) -> None:
    try:
        parse_set(text, file="set.yaml")
    except InputError as error:
        assert error.code.startswith("PVB")


LOCK = render_lock(example())


@given(damaged(LOCK) | revalued(LOCK))
def test_locks(text: str) -> None:
    try:
        assert parse_lock(text, file="x") == example()
    except InputError as error:
        assert error.code.startswith("PVB")


@given(damaged(VERSIONS) | revalued(VERSIONS))
def test_pin_files(text: str) -> None:
    try:
        made = import_versions(text, file="versions.yaml", tee="amd", arch="x86_64")
    except InputError as error:
        assert error.code.startswith("PVB")
    else:
        # what is made is a set
        assert parse_set(made.text, file="set.yaml").components


@given(st.text(max_size=100))
def test_any_text(text: str) -> None:
    for read in (lambda: parse_set(text, file="x"), lambda: import_versions(text, file="x", tee="tdx", arch="x86_64")):
        with pytest.raises(InputError):
            read()
