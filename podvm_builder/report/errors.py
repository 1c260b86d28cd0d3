"""An error as text: code, message, place with its source line and caret, hint."""

from __future__ import annotations

from podvm_builder.errors import Place, PodvmError
from podvm_builder.report.text import printable_lines


def render_error(error: PodvmError) -> str:
    """Lay an error out.

    Example::

        error[PVB103]: unknown key `vcpu` in `platform`
          --> acme.yaml:9:12
         9 | platform: {vcpu: [2, 4]}
           |            ^^^^ did you mean `vcpus`?
        hint: …
    """
    lines = [f"error[{error.code}]: {error.message}"]
    if error.place is not None:
        lines += _place(error.place)
        if error.place.note and not _has_caret(error.place):
            lines.append(f"hint: {error.place.note}")
    if error.hint:
        lines.append(f"hint: {error.hint}")
    return printable_lines("\n".join(lines))


def _has_caret(place: Place) -> bool:
    """Say whether there is a caret for a note to stand under."""
    return None not in (place.line, place.column, place.text)


def _place(place: Place) -> list[str]:
    where = place.file
    if place.line is not None:
        where += f":{place.line}"
        if place.column is not None:
            where += f":{place.column}"
    lines = [f"  --> {where}"]
    if place.text is not None and place.line is not None:
        number = str(place.line)
        lines.append(f" {number} | {place.text}")
        if place.column is not None:
            note = f" {place.note}" if place.note else ""
            # tabs stay tabs, so that the caret stands under its column however wide a tab is shown
            pad = "".join("\t" if c == "\t" else " " for c in place.text[: place.column - 1])
            lines.append(f" {' ' * len(number)} | {pad}{'^' * max(1, place.length)}{note}")
    return lines
