"""Progress of long work on stderr: steps that are known beforehand, with their time."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_TICK = 0.5


class Steps:
    """Shows which step of how many runs, since when, and what it is doing.

    On a terminal the current step is one line that is kept up to date; elsewhere every step is a line when it begins
    and a line when it ends.
    """

    def __init__(self, total: int, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin.

        Args:
            total: number of steps.
            stream: where to show them.
            clock: seconds, for the elapsed time.
        """
        self._total = total
        self._stream = stream
        self._clock = clock
        self._live = stream.isatty()
        self._number = 0
        self._name = ""
        self._detail = ""
        self._since = 0.0
        self._lock = threading.Lock()
        self.seconds: dict[str, float] = {}
        """How long each step that ended took."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Run one step."""
        self._number += 1
        self._name, self._detail, self._since = name, "", self._clock()
        done = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(done,), daemon=True)
        if self._live:
            ticker.start()
        else:
            self._line(f"{self._head()}")
        ended = "stopped"
        try:
            yield
            ended = "done"
        finally:
            done.set()
            if self._live:
                ticker.join()
            self.seconds[name] = self._clock() - self._since
            self._line(f"{self._head()}: {ended} in {self.seconds[name]:.1f} s")

    def say(self, text: str) -> None:
        """Say what the current step is doing: a passing detail on a terminal, a line elsewhere."""
        if self._live:
            self._detail = text.strip()
        else:
            self._line(f"      {text}")

    def note(self, text: str) -> None:
        """Say something that stays, also on a terminal."""
        self._line(text)

    def _head(self) -> str:
        return f"[{self._number}/{self._total}] {self._name}"

    def _line(self, text: str) -> None:
        with self._lock:
            self._stream.write(f"\r\x1b[K{text}\n" if self._live else f"{text}\n")
            self._stream.flush()

    def _tick(self, done: threading.Event) -> None:
        while not done.wait(_TICK):
            text = f"{self._head()}  {self._clock() - self._since:.0f} s  {self._detail}"
            width = shutil.get_terminal_size().columns - 1
            with self._lock:
                self._stream.write(f"\r\x1b[K{text[:width]}")
                self._stream.flush()
