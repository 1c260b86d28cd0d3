"""What the output of package tools says went wrong, as one of our errors."""

from __future__ import annotations

import re
from collections.abc import Sequence

from podvm_builder.errors import Lacking, PodvmError, RemoteError

_FULL = re.compile(r"No space left on device|Disk quota exceeded|You don't have enough free space")
_DEAD = re.compile(
    r"Could not resolve|Temporary failure resolving|Could not connect to|Unable to connect to"
    r"|Cannot initiate the connection|Connection (?:timed out|refused|failed)|Network is unreachable"
    r"|Failed to fetch|Some index files failed to download|does not have a Release file|is not signed"
    r"|Certificate verification failed|Could not handshake"
)
_ADDRESS = re.compile(r"https?://[^\s'\"]+")


def explain(lines: Sequence[str], *, doing: str) -> PodvmError | None:
    """Return the error behind a failed package tool, or None if it is none of the known ones.

    Args:
        lines: the output, last lines last.
        doing: what was being done, for the message: `making the tools tree`.
    """
    for line in lines:
        if _FULL.search(line):
            return no_space(line.strip(), doing=doing)
    troubles = [line.strip() for line in lines if _DEAD.search(line)]
    if not troubles:
        return None
    with_address = [line for line in troubles if _ADDRESS.search(line)] or troubles
    return RemoteError(
        f"the package mirror failed while {doing}: {with_address[0]}",
        code="PVB302",
        hint="see that the mirror answers, or give another with --mirror URL",
    )


def no_space(line: str, *, doing: str) -> Lacking:
    """Return the error for a program that met a full disk."""
    return Lacking(
        f"no space left while {doing}: {line}",
        code="PVB321",
        hint="free some space, or give another place with `-o` or `--cache`",
    )
