"""Why mkosi failed: the lines of its log that say so, as an error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from podvm_builder.errors import BuildFailed, Place, PodvmError
from podvm_builder.tools.aptlog import explain

_FAILED = re.compile(r"^‣ .*(?:returned non-zero exit code \d+\.$|was killed by SIG\w+ signal\.$| not found\.$)")
_BEFORE = 14
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def failure(lines: Sequence[str], *, status: int, log: Path) -> PodvmError:
    """Return the error for a failed run of mkosi.

    Args:
        lines: the log, or its end.
        status: mkosi's exit status.
        log: where all of the log is kept, for the message.
    """
    known = explain(lines, doing="mkosi built the image")
    shown = relevant(lines)
    if known is not None:
        hint = known.hint
        error: PodvmError = type(known)(known.message, code=known.code, place=Place(file=str(log)), hint=hint)
        return error
    text = "".join(f"\n  {line}" for line in shown)
    return BuildFailed(
        f"mkosi failed with exit status {status}:{text}",
        code="PVB410",
        place=Place(file=str(log)),
        hint="the whole log is kept there",
    )


def relevant(lines: Sequence[str]) -> list[str]:
    """Return the lines that say what went wrong: mkosi's first complaint and what the failed program printed before.

    mkosi marks its own lines with ``‣``; what it says while it unwinds is in brackets. A complaint about a command
    follows the command's output, which itself follows mkosi's line about the step.
    """
    clean = [line for line in (_ESCAPE.sub("", line) for line in lines) if line.strip()]
    at = next((index for index, line in enumerate(clean) if _FAILED.match(line)), None)
    if at is None:
        own = [index for index, line in enumerate(clean) if line.startswith("‣ ") and not line.startswith("‣ (")]
        if not own:
            return clean[-_BEFORE:]
        # a message of mkosi's own, or the traceback after its last step
        return clean[own[-1] :][-_BEFORE:]
    start = at
    while start > 0 and at - start < _BEFORE and not clean[start - 1].startswith("‣ "):
        start -= 1
    return clean[start : at + 1]
