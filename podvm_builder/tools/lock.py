"""Locks between processes: an open file description lock on a file that also says who holds it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from podvm_builder.tools.files import writing


class Held(Exception):
    """Another process holds the lock."""

    def __init__(self, pid: int | None) -> None:
        """Keep the holder's process id, if it could be read."""
        super().__init__(pid)
        self.pid = pid


@contextmanager
def lock(path: Path, *, wait: Callable[[int | None], None] | None = None) -> Iterator[None]:
    """Hold a lock; the kernel lets go of it when the process ends, however it ends.

    The file stays: removing it would let two holders in. Programs that are started meanwhile do not inherit it.

    Args:
        path: the lock's file, made if it is absent.
        wait: called once with the holder's process id if there is one, before waiting; without it, do not wait.

    Raises:
        Held: another process holds it and ``wait`` is None.
        Lacking: PVB321 or PVB322, the file cannot be made.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).strip()
            pid = int(holder) if holder.isdigit() else None
            if wait is None:
                raise Held(pid) from None
            wait(pid)
            fcntl.flock(fd, fcntl.LOCK_EX)
        with writing(path):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)
