"""Text that comes from files, for a terminal."""

from __future__ import annotations


def printable(line: str) -> str:
    """Make what a file says of itself harmless to a terminal: control characters and the like are replaced."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def printable_lines(text: str) -> str:
    """Do what :func:`printable` does, line by line; tabs stay, since a caret below them stands under its column."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))
