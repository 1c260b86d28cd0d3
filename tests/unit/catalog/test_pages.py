"""Every error code has a page, every page a code, and every page the shape that `explain` and the docs rely on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import podvm_builder
from podvm_builder.catalog.pages import error_codes, error_page

PACKAGE = Path(podvm_builder.__file__).parent
CODE = re.compile(r"PVB\d{3}")
QUOTED = re.compile(r"""["'](PVB\d{3})["']""")
PRINTED = re.compile(r"error\[(PVB\d{3})\]: ")


def used_codes() -> dict[str, str]:
    """Return each code that the source raises or prints, with one file that does."""
    return {
        code: str(file.relative_to(PACKAGE))
        for file in sorted(PACKAGE.rglob("*.py"))
        for pattern in (QUOTED, PRINTED)
        for code in pattern.findall(_without_docstrings(file.read_text(encoding="utf-8")))
    }


def _without_docstrings(source: str) -> str:
    return re.sub(r'"""(?:.|\n)*?"""', "", source)


def test_every_code_in_the_source_has_a_page() -> None:
    missing = {code: file for code, file in used_codes().items() if code not in error_codes()}
    assert missing == {}


def test_every_page_is_of_a_code_in_the_source() -> None:
    assert set(error_codes()) - used_codes().keys() == set()


def test_every_code_is_named_in_a_test() -> None:
    tests = Path(__file__).parents[2]
    named = {code for file in tests.rglob("test_*.py") for code in CODE.findall(file.read_text(encoding="utf-8"))}
    assert set(error_codes()) - named == set()


@pytest.mark.parametrize("code", error_codes())
def test_a_page_says_what_it_means_and_what_to_do(code: str) -> None:
    page = error_page(code)
    assert page is not None
    raw = (PACKAGE / "catalog" / "codes" / f"{code}.md").read_text(encoding="utf-8")
    assert raw.startswith("# ")
    assert page.title
    assert not page.title.startswith("#")
    assert not page.title.endswith(".")
    assert re.search(r"^(What to do:|## What to do$)", page.body, re.MULTILINE)
    assert not page.body.lower().startswith("what to do")
    assert page.body.endswith("\n")
    assert not page.body.endswith("\n\n")


@pytest.mark.parametrize("code", ["PVB000", "PVB1000", "../PVB100", "", "pvb100"])
def test_there_is_no_page_of_anything_else(code: str) -> None:
    assert error_page(code) is None
