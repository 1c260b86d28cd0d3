"""systemd unit files: what is assigned in which section, in the order of the file.

Specification: systemd.syntax(7) and systemd.unit(5). As in systemd, a line that is no assignment is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

TYPES = (
    *(".service", ".socket", ".device", ".mount", ".automount", ".swap"),
    *(".target", ".path", ".timer", ".slice", ".scope"),
)
"""Suffixes of unit names."""

_SECTION = re.compile(r"\[([^\[\]]+)\]")
_TRUE = frozenset({"1", "yes", "y", "true", "t", "on"})


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFile:
    """A unit file, with its drop-ins behind it."""

    assignments: tuple[tuple[str, str, str], ...] = field(default=())
    """Section, key and value."""

    def lists(self, section: str, *keys: str) -> tuple[str, ...]:
        """Return all words assigned to keys that take unit names: an empty value takes nothing back there."""
        return tuple(
            word for at, key, value in self.assignments if at == section and key in keys for word in value.split()
        )

    def commands(self, section: str, key: str) -> tuple[str, ...]:
        """Return all command lines assigned to a key; an empty value takes the ones before it back."""
        found: list[str] = []
        for at, name, value in self.assignments:
            if (at, name) == (section, key):
                found = [*found, value] if value else []
        return tuple(found)

    def last(self, section: str, key: str) -> str | None:
        """Return the value that counts of a key that takes one."""
        values = [value for at, name, value in self.assignments if (at, name) == (section, key)]
        return values[-1] if values else None

    def flag(self, section: str, key: str, *, default: bool) -> bool:
        """Return a truth value."""
        value = self.last(section, key)
        return default if not value else value.lower() in _TRUE


def parse_unit(*texts: str) -> UnitFile:
    """Read a unit file, and its drop-ins in their order."""
    return UnitFile(assignments=tuple(row for text in texts for row in _assignments(text)))


def _assignments(text: str) -> Iterable[tuple[str, str, str]]:
    section = ""
    for line in _joined(text):
        match = _SECTION.fullmatch(line)
        if match:
            section = match[1]
            continue
        key, separator, value = line.partition("=")
        if separator and section:
            yield section, key.strip(), value.strip()


def _joined(text: str) -> Iterable[str]:
    """Yield lines without comments, those that end with a backslash together with the ones after them."""
    kept: list[str] = []
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith(("#", ";")) or (not line and not kept):
            continue
        kept.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            yield " ".join(kept).strip()
            kept = []
    if kept:
        yield " ".join(kept).strip()
