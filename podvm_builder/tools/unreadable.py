"""A file that cannot be read, as an error that says what to look at.

Nothing heavy is imported: reading a firmware must not cost more than measuring it.
"""

from __future__ import annotations

import errno
import os

from podvm_builder.errors import InputError, Place

CODE = "PVB320"


def unreadable(
    path: str | os.PathLike[str],
    error: OSError,
    *,
    what: str | None = None,
    code: str = CODE,
    place: Place | None = None,
) -> InputError:
    """Return the error about a file that the system does not let us read.

    Args:
        path: the file.
        error: what the system said.
        what: what the message calls it; its path if None.
        code: PVB320, or that of a page about this very kind of file.
        place: where it is, if the message does not name it.
    """
    name = what or f"`{os.fspath(path)}`"
    return InputError(f"cannot read {name}: {error.strerror}", code=code, place=place, hint=_hint(path, error.errno))


def _hint(path: str | os.PathLike[str], number: int | None) -> str:
    import shlex

    text = os.fspath(path)
    if number == errno.EISDIR:
        return "give a file, not a folder"
    if number in (errno.ENOENT, errno.ENOTDIR):
        folder = os.path.dirname(os.path.abspath(text))  # noqa: PTH100, PTH120 - see the module
        while not os.path.isdir(folder):  # noqa: PTH112 - it raises nothing where a folder is closed to us
            folder = os.path.dirname(folder)  # noqa: PTH120 - text in, text out
        return f"see what is there: ls {shlex.quote(folder)}"
    return f"see what it is and who may read it: ls -ld {shlex.quote(text)}"
