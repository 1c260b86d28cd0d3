"""Trustee's versions, as far as what they read of reference values is known here."""

from __future__ import annotations

import re

from podvm_builder.errors import InputError

Version = tuple[int, int]
"""Major and minor; the patch level changes nothing that is read."""

FIRST: Version = (0, 12)
"""The first whose default policy gives a trust vector by the names known here."""
LAST: Version = (0, 21)

VERSIONS: tuple[Version, ...] = tuple((0, minor) for minor in range(FIRST[1], LAST[1] + 1))
SUPPORTED: tuple[str, ...] = tuple(f"{major}.{minor}" for major, minor in VERSIONS)
NEWEST = SUPPORTED[-1]

_TEXT = re.compile(r"v?([0-9]{1,4})\.([0-9]{1,4})(?:\.[0-9]{1,4})?")


def parse_version(text: str) -> Version:
    """Return the version that ``0.21``, ``0.21.0`` or ``v0.21.0`` names.

    Raises:
        InputError: it is none whose names and types are known (PVB603).
    """
    match = _TEXT.fullmatch(text)
    version = (int(match[1]), int(match[2])) if match else None
    if version not in VERSIONS:
        raise InputError(
            f"reference values for Trustee `{text}` are not supported",
            code="PVB603",
            hint=f"{SUPPORTED[0]} to {NEWEST}; what others read is not known here, and values in another shape are "
            "ignored without a word",
        )
    return version


def show(version: Version) -> str:
    """Return a version as text, e.g. ``0.21``."""
    return f"{version[0]}.{version[1]}"
