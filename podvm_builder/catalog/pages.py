"""The pages of the error codes: what each means and what to do, as package data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

_NAME = re.compile(r"(PVB\d{3})\.md")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPage:
    """The long story of one error code."""

    code: str
    title: str
    body: str
    """Markdown without the title, ending in a newline."""

    @property
    def text(self) -> str:
        """The whole page, headed by the code and the title."""
        return f"# {self.code}: {self.title}\n\n{self.body}"


def error_codes() -> tuple[str, ...]:
    """Return every code that has a page, sorted."""
    names = (_NAME.fullmatch(entry.name) for entry in _folder().iterdir())
    return tuple(sorted(match[1] for match in names if match is not None))


def error_page(code: str) -> ErrorPage | None:
    """Return the page of a code, or None where there is none."""
    # the name is checked before it becomes part of a path
    if _NAME.fullmatch(f"{code}.md") is None or not (file := _folder() / f"{code}.md").is_file():
        return None
    title, _, body = file.read_text(encoding="utf-8").partition("\n")
    return ErrorPage(code=code, title=title.removeprefix("# "), body=body.lstrip("\n"))


def _folder() -> Traversable:
    return files("podvm_builder.catalog") / "codes"
