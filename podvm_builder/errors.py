"""The one error tree.

Every error that a user can cause is a :class:`PodvmError`: it has a code with a page of its own
(``podvm-build explain PVB103``), says what is wrong, where, and how to mend it, and carries the exit
code of its branch. Anything else that reaches the top is our bug and exits 70.

    PodvmError
    ├── Finding        1   the check worked and the answer is no: drift, mismatch, a failed proof
    ├── InputError     2   a bad option, profile, or file
    │   └── FormatError    bytes that are not what they should be, at an offset
    ├── Lacking        3   the environment lacks a tool, a right, or space
    ├── BuildFailed    4   an external program failed
    └── RemoteError    5   a mirror, registry or service refused or did not answer
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command line."""

    OK = 0
    FINDING = 1
    INPUT = 2
    LACKING = 3
    BUILD = 4
    REMOTE = 5
    BUG = 70
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an error is: a file and, where known, a 1-based line and column and the length to underline."""

    file: str
    line: int | None = None
    column: int | None = None
    length: int = 1
    text: str | None = None
    """The source line, without its newline."""
    note: str | None = None
    """Said under the caret, e.g. ``did you mean `vcpus`?``."""


class PodvmError(Exception):
    """An error with a code, a place and a mend.

    Args:
        message: what is wrong, one sentence without a full stop, values in backticks.
        code: ``PVB`` and three digits; each has a page below ``catalog/codes/``.
        place: where it is wrong, if a file is at fault.
        hint: what to do about it, ready to paste where possible.
    """

    exit_code: Exit = Exit.BUG

    def __init__(self, message: str, *, code: str, place: Place | None = None, hint: str | None = None) -> None:
        """Keep the parts; the command line lays them out."""
        super().__init__(message)
        self.message = message
        self.code = code
        self.place = place
        self.hint = hint


class Finding(PodvmError):
    """The check worked and the answer is no."""

    exit_code = Exit.FINDING


class InputError(PodvmError):
    """The user's option, profile or file is wrong."""

    exit_code = Exit.INPUT


class InputErrors(InputError):
    """Several input errors found in one go; the command line prints each of them."""

    def __init__(self, errors: tuple[InputError, ...]) -> None:
        """Keep the errors; the first one's code stands for all."""
        super().__init__(errors[0].message, code=errors[0].code, place=errors[0].place, hint=errors[0].hint)
        self.errors = errors


class FormatError(InputError):
    """Bytes that are not what they should be.

    Args:
        what: what was being read and what is wrong with it.
        offset: byte offset from the start of the input at which it was noticed.
    """

    def __init__(self, what: str, offset: int | None = None, *, code: str = "PVB201", hint: str | None = None) -> None:
        """Fold the offset into the message."""
        super().__init__(what if offset is None else f"{what} (at byte {offset:#x})", code=code, hint=hint)
        self.what = what
        self.offset = offset


class Lacking(PodvmError):
    """The environment lacks a tool, a right, or space."""

    exit_code = Exit.LACKING


class BuildFailed(PodvmError):
    """An external program failed."""

    exit_code = Exit.BUILD


class RemoteError(PodvmError):
    """A mirror, registry or service refused or did not answer."""

    exit_code = Exit.REMOTE
