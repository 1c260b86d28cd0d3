"""Reading the files that an option names, with a limit on each.

Names are text here, and nothing imports ``pathlib``: its import costs as much as a digest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

from podvm_builder.errors import FormatError, InputError, Place
from podvm_builder.tools.inputs import open_input
from podvm_builder.tools.unreadable import unreadable

_CHUNK = 1 << 20

Name = str | os.PathLike[str]


@contextmanager
def named(path: Name) -> Iterator[None]:
    """Put the file's name to errors about its bytes, and read errors of the system into ours."""
    try:
        yield
    except FormatError as error:
        error.place = error.place or Place(file=os.fspath(path))
        raise
    except OSError as error:
        raise unreadable(path, error) from None


def read_file(path: Name, *, limit: int) -> bytes:
    """Return a file's bytes, at most one more than ``limit``: enough to see that it is too large.

    Raises:
        InputError: PVB320, it cannot be read, or is a FIFO or a device.
    """
    with named(path), open_input(path) as file:
        # asking for the size first: a buffer of the limit's size costs more than the reading
        size = os.fstat(file.fileno()).st_size
        data = file.read(min(size, limit) + 1)
        # a pipe says no size
        return data if len(data) == size else data + file.read(limit + 1 - len(data))


def hash_file(path: Name, *, limit: int, what: str) -> bytes:
    """Return the SHA-256 of a file, 32 bytes.

    Raises:
        InputError: it cannot be read (PVB320), or has more than ``limit`` bytes (PVB232).
    """
    digest = hashlib.sha256()
    with named(path), open_input(path) as file:
        # what is said at once saves the time of hashing it; a pipe says no size
        size = os.fstat(file.fileno()).st_size
        if size <= limit:
            size = 0
            while size <= limit and (chunk := file.read(_CHUNK)):
                size += len(chunk)
                digest.update(chunk)
    if size > limit:
        raise InputError(
            f"the {what} is larger than {limit >> 30} GiB", code="PVB232", place=Place(file=os.fspath(path))
        )
    return digest.digest()
