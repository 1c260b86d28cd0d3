"""Reading the files that an option names, with a limit on each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from podvm_builder.errors import FormatError, InputError, Place

_CHUNK = 1 << 20


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Put the file's name to errors about its bytes, and read errors of the system into ours."""
    try:
        yield
    except FormatError as error:
        error.place = error.place or Place(file=str(path))
        raise
    except OSError as error:
        raise InputError(f"cannot read `{path}`: {error.strerror}", code="PVB320") from None


def read_file(path: Path, *, limit: int) -> bytes:
    """Return a file's bytes, at most one more than ``limit``: enough to see that it is too large.

    Raises:
        InputError: PVB320, it cannot be read.
    """
    with named(path), path.open("rb") as file:
        return file.read(limit + 1)


def hash_file(path: Path, *, limit: int, what: str) -> bytes:
    """Return the SHA-256 of a file, 32 bytes.

    Raises:
        InputError: it cannot be read (PVB320), or has more than ``limit`` bytes (PVB232).
    """
    digest, size = hashlib.sha256(), 0
    with named(path), path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            size += len(chunk)
            if size > limit:
                raise InputError(
                    f"the {what} is larger than {limit >> 30} GiB", code="PVB232", place=Place(file=str(path))
                )
            digest.update(chunk)
    return digest.digest()
