"""Files: random access for the pure core, and writes that appear whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from podvm_builder.errors import FormatError, InputError, Lacking
from podvm_builder.tools.unreadable import unreadable

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CHUNK = 1 << 20
_NOT_OURS = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOENT,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_IMPOSSIBLE = {
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOENT,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENXIO,
}
"""What another path mends, and not another right: of a socket's the last."""


def hashing_threads() -> int:
    """Return how many threads hash a file: one for each CPU that this process may use. No result depends on it."""
    return len(os.sched_getaffinity(0))


class FileReader:
    """A file as a :class:`~podvm_builder.model.reader.BinaryReader`; a context manager that closes it."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            InputError: PVB320, it cannot be opened or is not a regular file.
        """
        self.path = path
        try:
            # a FIFO must not keep us waiting for a writer
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise unreadable(path, error) from None
        # of what was opened: what the path names may have changed
        status = os.fstat(self._fd)
        self._size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise InputError(f"`{path}` is not a regular file", code="PVB320", hint="give a file")

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset``.

        Raises:
            FormatError: the range is not inside the file.
        """
        if offset < 0 or length < 0 or offset + length > self._size:
            raise FormatError(f"{self.path.name}: {length} bytes are wanted beyond the end", offset)
        parts = []
        while length:
            part = os.pread(self._fd, min(length, 1 << 30), offset)
            if not part:
                raise FormatError(f"{self.path.name}: it became shorter while it was read", offset)
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def __enter__(self) -> FileReader:
        """Return the reader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the errors of writing below ``path`` into messages.

    Raises:
        Lacking: PVB321, the disk is full or the quota is used up; PVB322, the folder is not ours to write.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or path
        if error.errno in _FULL:
            raise _full(where, error) from error
        if error.errno in _NOT_OURS:
            raise Lacking(f"cannot write `{where}`: {error.strerror}", code="PVB322") from error
        raise


def _full(where: object, error: OSError) -> Lacking:
    return Lacking(
        f"no space left for `{where}`: {error.strerror}",
        code="PVB321",
        hint="free some space, or give another place with `-o` or `--cache`",
    )


def write_named(path: Path, data: bytes) -> None:
    """Write a file that the user named: whole or not at all where it is or becomes a regular file.

    A link is followed, and a device or a FIFO is written to: neither is put out of its place. Folders are not made.

    Raises:
        InputError: PVB324, the path names a folder, or a folder of it is absent.
        Lacking: PVB321 or PVB322.
    """
    # unlike pathlib's, these functions answer no of a path that cannot be
    target = Path(os.path.realpath(path))
    if os.path.isdir(target):  # noqa: PTH112 - it raises nothing where a folder is closed to us
        raise InputError(f"`{path}` is a folder", code="PVB324", hint="name a file")
    if not os.path.isdir(target.parent):  # noqa: PTH112 - it raises nothing where a folder is closed to us
        raise InputError(f"`{path.parent}` is not a folder that is there", code="PVB324", hint="make it first")
    with _writing_named(path):
        if os.path.isfile(target) or not os.path.lexists(target):  # noqa: PTH113 - it raises nothing where a folder is closed to us
            _replace(target, data, 0o644)
            return
        with target.open("wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]


def refuse_file(path: Path) -> None:
    """See that nothing but a folder stands where one, and those above it, are to be made.

    Raises:
        InputError: PVB324, naming the file, device or broken link that does.
    """
    # of a name that is too long, lexists says no, and making the folder says why
    there = next(one for one in (path.absolute(), *path.absolute().parents) if os.path.lexists(one))
    if not os.path.isdir(there):  # noqa: PTH112 - it raises nothing where a folder is closed to us
        raise InputError(f"`{there}` is no folder", code="PVB324", hint="name a folder, or a place for one")


@contextmanager
def _writing_named(path: Path) -> Iterator[None]:
    """Turn the errors of writing into messages about the path that the user gave."""
    try:
        yield
    except OSError as error:
        if error.errno in _IMPOSSIBLE:
            raise InputError(
                f"cannot write `{path}`: {error.strerror}", code="PVB324", hint="name another place"
            ) from error
        if error.errno in _FULL:
            raise _full(path, error) from error
        raise Lacking(f"cannot write `{path}`: {error.strerror}", code="PVB322") from error


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that it is there whole or as it was before, also after a power cut.

    Args:
        path: the file; its folder is made if it is absent.
        data: all of its content.
        mode: permission bits, whatever the umask is.

    Raises:
        Lacking: PVB321 or PVB322.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data, mode)


def _replace(path: Path, data: bytes, mode: int) -> None:
    # a part of the name, lest the temporary one be longer than a name may be
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:32]}.")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def replace_folder(new: Path, path: Path) -> Path | None:
    """Put folder ``new`` in the place of ``path`` in one step; both are on one file system.

    Returns:
        Where the former folder is now, to be removed by the caller; None if there was none.

    Raises:
        Lacking: PVB321 or PVB322.
    """
    with writing(path):
        if not os.path.lexists(path):
            new.rename(path)
            return None
        if _exchange(new, path):
            return new
        # a file system without exchange: for a moment there is neither, but never half of one
        old = new.with_name(new.name + ".old")
        path.rename(old)
        new.rename(path)
        return old


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths by renameat2(2); False where the C library or the file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    done: int = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if done == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(number, os.strerror(number), str(other))


def move_file(source: Path, target: Path) -> None:
    """Move a file, by renaming where that is possible, else by a copy that keeps its holes.

    Raises:
        Lacking: PVB321 or PVB322.
    """
    with writing(target):
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            copy_sparse(source, target)
            source.unlink()


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file; where the source has holes, so has the copy."""
    with source.open("rb") as reader, target.open("wb") as writer:
        size = os.fstat(reader.fileno()).st_size
        writer.truncate(size)
        offset = 0
        while offset < size:
            try:
                start = os.lseek(reader.fileno(), offset, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break  # nothing but a hole up to the end
                raise
            offset = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
            reader.seek(start)
            writer.seek(start)
            left = offset - start
            while left and (part := reader.read(min(left, _CHUNK))):
                writer.write(part)
                left -= len(part)
    shutil.copymode(source, target)


def sha256_file(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
