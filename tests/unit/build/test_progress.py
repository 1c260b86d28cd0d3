"""Progress: plain lines where nobody watches, one line that is kept up to date on a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from podvm_builder.build.progress import Steps


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def clock() -> Iterator[float]:
    time = 0.0
    while True:
        yield time
        time += 1.5


def steps(stream: io.StringIO) -> Steps:
    ticks = clock()
    return Steps(2, stream, clock=lambda: next(ticks))


def test_plain_lines() -> None:
    stream = io.StringIO()
    shown = steps(stream)
    with shown.step("tools"):
        shown.say("making it")
    with pytest.raises(KeyError), shown.step("mkosi"):
        raise KeyError
    assert stream.getvalue().splitlines() == [
        "[1/2] tools",
        "      making it",
        "[1/2] tools: done in 1.5 s",
        "[2/2] mkosi",
        "[2/2] mkosi: stopped in 1.5 s",
    ]
    assert shown.seconds == {"tools": 1.5, "mkosi": 1.5}


def test_a_terminal_keeps_what_ended_and_what_is_noted() -> None:
    stream = Terminal()
    shown = steps(stream)
    with shown.step("tools"):
        shown.say("a passing detail")
        shown.note("a note")
    kept = [line.rsplit("\x1b[K", 1)[-1] for line in stream.getvalue().split("\n")]
    assert kept[:2] == ["a note", "[1/2] tools: done in 1.5 s"] or "a note" in kept
    assert "[1/2] tools: done in" in stream.getvalue()
    assert stream.getvalue().endswith("\n")
