"""Presets: which units are enabled when an image is made.

Specification: systemd.preset(5): files of equal names hide those of later folders, all are read in the order of their
names, and the first line that matches a unit counts.
"""

from __future__ import annotations

from podvm_builder.formats.filetree import Kind
from podvm_builder.lint.subject import Files

_FOLDERS = (
    "etc/systemd/system-preset",
    "usr/local/lib/systemd/system-preset",
    "usr/lib/systemd/system-preset",
)


def presets(files: Files) -> list[tuple[str, str]]:
    """Return action and pattern of every line that counts, up to the one that leaves nothing to those behind it."""
    found: dict[str, str] = {}
    for folder in _FOLDERS:
        for name, entry in files.linked.list(folder).items():
            if name.endswith(".preset") and entry.kind is not Kind.FOLDER:
                found.setdefault(name, f"{folder}/{name}")
    lines: list[tuple[str, str]] = []
    for name in sorted(found):
        for line in (files.text(found[name]) or "").splitlines():
            words = line.split()
            if len(words) >= 2 and words[0] in ("enable", "disable", "ignore"):
                lines.append((words[0], words[1]))
                if words[1] == "*":
                    return lines
    return lines
