"""Errors as text: a note stands under its caret, and is a hint where there is none."""

from __future__ import annotations

import pytest

from podvm_builder.errors import InputError, Place
from podvm_builder.report.errors import render_error


def render(place: Place | None, hint: str | None = None) -> list[str]:
    return render_error(InputError("it is wrong", code="PVB103", place=place, hint=hint)).splitlines()


def test_message_and_hint() -> None:
    assert render(None, "mend it") == ["error[PVB103]: it is wrong", "hint: mend it"]


def test_a_note_stands_under_its_caret() -> None:
    place = Place(file="a.yaml", line=9, column=3, length=4, text="a: vcpu", note="did you mean `vcpus`?")
    assert render(place)[1:] == ["  --> a.yaml:9:3", " 9 | a: vcpu", "   |   ^^^^ did you mean `vcpus`?"]


@pytest.mark.parametrize(
    ("place", "where"),
    [
        (Place(file="--set a=b", note="so"), ["  --> --set a=b"]),
        (Place(file="a.yaml", line=9, note="so"), ["  --> a.yaml:9"]),
        (Place(file="a.yaml", line=9, text="a: b", note="so"), ["  --> a.yaml:9", " 9 | a: b"]),
        (Place(file="a.yaml", line=9, column=2, note="so"), ["  --> a.yaml:9:2"]),
    ],
)
def test_a_note_without_a_caret_is_a_hint(place: Place, where: list[str]) -> None:
    assert render(place)[1:] == [*where, "hint: so"]


def test_what_a_file_says_is_harmless_to_a_terminal() -> None:
    place = Place(file="a.yaml", line=1, column=2, text="\t\x1b[2Jb")
    text = render_error(InputError("key `\x1b]0;x\x07\r`", code="PVB103", place=place))
    assert text.splitlines() == [
        "error[PVB103]: key `\ufffd]0;x\ufffd\ufffd`",
        "  --> a.yaml:1:2",
        " 1 | \t\ufffd[2Jb",
        "   | \t^",
    ]
