"""How long a registry is waited for, and how often it is asked again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import TypeVar

from podvm_builder.errors import RemoteError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Patience with one connection, in seconds."""

    connect: float = 10.0
    read: float = 30.0
    """Without a single byte."""
    window: float = 60.0
    slowest: int = 1024
    """Bytes a second, on average over ``window``, below which a download counts as stalled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """Exponential backoff with jitter. What the registry asks for by ``Retry-After`` comes first."""

    attempts: int = 5
    """In all, the first one included, without progress between them."""
    base: float = 0.5
    """Seconds before the second attempt."""
    cap: float = 20.0
    """Longest pause of our own, in seconds."""
    patience: float = 60.0
    """Longest pause that a registry may ask for; beyond it, it is not waited for."""
    sleep: Callable[[float], object] | None = None
    """Waits so many seconds; None waits for real, and no longer than other transfers of the same call go on."""
    jitter: Callable[[], float] = random.random
    """Gives a number from 0 to 1."""
    clock: Callable[[], float] = time.monotonic

    def pause(self, failed: int, asked: float | None) -> float | None:
        """Return how long to wait after so many failed attempts; None to give up.

        Args:
            failed: attempts that failed one after the other, at least 1.
            asked: seconds that the registry asked for.
        """
        if failed >= self.attempts or (asked is not None and asked > self.patience):
            return None
        # half of it at random: many builds that start at once must not come back at once
        own: float = min(self.cap, self.base * 2.0 ** (failed - 1)) * (0.5 + 0.5 * self.jitter())
        return max(own, asked or 0.0)

    def wait(self, seconds: float, stop: Event) -> None:
        """Wait, unless the event is set meanwhile.

        Raises:
            Stopped: it was.
        """
        if self.sleep is None:
            stop.wait(seconds)
        else:
            self.sleep(seconds)
        check_stop(stop)


class Failure(Exception):
    """One attempt failed."""

    def __init__(self, error: RemoteError, *, retry: bool = False, after: float | None = None) -> None:
        """Keep the error, whether another attempt may help, and the pause that the registry asked for."""
        super().__init__(error.message)
        self.error = error
        self.retry = retry
        self.after = after


class Stopped(Exception):
    """Another transfer of the same call has failed; this one is given up."""


def insist(work: Callable[[], _T], retries: Retries, stop: Event) -> _T:
    """Do something until it works or another attempt is of no use.

    Raises:
        RemoteError: that of the last attempt.
        Stopped: the event was set.
    """
    failed = 0
    while True:
        try:
            return work()
        except Failure as failure:
            failed += 1
            pause = retries.pause(failed, failure.after) if failure.retry else None
            if pause is None:
                raise given_up(failure, failed) from None
            retries.wait(pause, stop)


def given_up(failure: Failure, failed: int) -> RemoteError:
    """Return the error to raise after an attempt that was the last."""
    error = failure.error
    if failed > 1:
        return RemoteError(f"{error.message} ({failed} attempts)", code=error.code, hint=error.hint)
    return error


def check_stop(stop: Event) -> None:
    """Raise :class:`Stopped` if the event is set."""
    if stop.is_set():
        raise Stopped
