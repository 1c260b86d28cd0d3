"""Opening files that a user names: what would never end or never begin is refused.

Nothing heavy is imported: reading a firmware must not cost more than measuring it.
"""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from podvm_builder.errors import InputError, Place
from podvm_builder.tools.unreadable import CODE, unreadable


def open_input(
    path: str | os.PathLike[str], *, what: str | None = None, code: str = CODE, place: Place | None = None
) -> BinaryIO:
    """Open a regular file, or the pipe that a shell makes of ``<(…)``.

    A FIFO, a device or a socket is refused without waiting for it: one may lie in a folder that comes from elsewhere.

    Args:
        path: the file.
        what: what the message calls it; its path if None.
        code: PVB320, or that of a page about this very kind of file.
        place: where it is, if the message does not name it.

    Raises:
        InputError: it cannot be opened, or is something else.
    """
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - it is returned
    except OSError as error:
        raise unreadable(path, error, what=what, code=code, place=place) from None
    # of what was opened: what the path names may have changed
    mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISFIFO(mode) and _is_nameless(file.fileno()):
        os.set_blocking(file.fileno(), True)
    elif not stat.S_ISREG(mode):
        file.close()
        name = what or f"`{os.fspath(path)}`"
        raise InputError(f"{name} is not a regular file", code=code, place=place, hint="give a file")
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _is_nameless(descriptor: int) -> bool:
    """Say whether a pipe has no name in a file system, so that a program that we were given holds its other end."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:")  # noqa: PTH115 - the target is no path
    except OSError:
        return False
