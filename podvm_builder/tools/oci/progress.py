"""What is being pulled, for the person who waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from podvm_builder.model.oci import Descriptor

_TICK = 0.2
"""Seconds between two looks of the line on a terminal."""


class Transfers:
    """Shows how much is there: one line that is kept up to date on a terminal, elsewhere a line for each blob.

    An instance is the ``progress`` of a client; a context manager that clears its line. Blobs that were at hand are not
    transfers, and are not shown.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Show nothing yet.

        Args:
            stream: where to.
            clock: seconds, for the rate.
        """
        self._stream = stream
        self._live = stream.isatty()
        self._clock = clock
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._there: dict[str, int] = {}
        self._first: tuple[float, int] | None = None
        self._shown: float | None = None

    def __call__(self, blob: Descriptor, there: int) -> None:
        """Take how many bytes of a blob are there."""
        with self._lock:
            now = self._clock()
            self._sizes[blob.digest] = blob.size
            self._there[blob.digest] = there
            if self._first is None:
                self._first = (now, there)  # what was resumed was not transferred now
            if self._live:
                if self._shown is None or now - self._shown >= _TICK:
                    self._shown = now
                    self._write(f"\r\x1b[K{self._line(now)}")
            elif there == blob.size:
                self._write(f"pulled {blob.title or blob.digest[:19]}: {_shown(blob.size)}\n")

    def __enter__(self) -> Transfers:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clear the line."""
        if self._shown is not None:
            self._write("\r\x1b[K")

    def _line(self, now: float) -> str:
        since, before = self._first or (now, 0)
        total = sum(self._there.values())
        rate = (total - before) / (now - since) if now > since else 0.0
        done = sum(self._there[digest] == size for digest, size in self._sizes.items())
        size = sum(self._sizes.values())
        return f"pulling: {done} of {len(self._sizes)} blobs, {_shown(total)} of {_shown(size)}, {_shown(rate)}/s"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _shown(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
