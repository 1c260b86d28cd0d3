"""What a guest says on its serial console: lines with their times, milestones, and signs that it has failed.

Nothing here decides that a guest is up: that is its forwarder's port. The console dates the stages on the way
and explains a boot that does not get there. Its bytes come from the guest and are not trusted: control
characters are removed and lengths are bounded. Pure.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

_MAX_LINE = 2048
_MAX_LINES = 200_000
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?=]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Trouble(StrEnum):
    """Kinds of failure that a console shows."""

    OOPS = "oops"
    """The kernel hit a fault of its own; it may carry on, but what it then does proves nothing."""
    PANIC = "panic"
    VERITY = "verity"
    """dm-verity found a block that is not what the root hash covers."""
    UNIT = "unit"
    """A systemd unit failed."""
    EMERGENCY = "emergency"
    """The initrd or systemd gave up."""
    REFUSED = "refused"
    """The firmware refused the loader."""


MILESTONES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("firmware starts the loader", re.compile(r"BdsDxe: starting Boot")),
    ("EFI stub", re.compile(r"EFI stub: ")),
    ("kernel", re.compile(r"\] Linux version ")),
    ("initrd", re.compile(r"Run /init as init process|systemd\[1\]: Running in initrd")),
    ("switch to the root file system", re.compile(r"[Ss]witching root|systemd\[1\]: Switching root")),
    ("systemd", re.compile(r"systemd\[1\]: systemd \d+.* running in system mode")),
)
"""What is dated, in the order in which it comes; the first line that matches counts."""

_TROUBLES: tuple[tuple[Trouble, re.Pattern[str]], ...] = (
    (Trouble.PANIC, re.compile(r"Kernel panic - not syncing")),
    (
        Trouble.OOPS,
        re.compile(
            r"\b(?:Oops: |kernel BUG at |BUG: (?:unable to handle|kernel NULL|sleeping|soft lockup|scheduling)"
            r"|general protection fault|invalid opcode: )"
        ),
    ),
    (Trouble.VERITY, re.compile(r"device-mapper: verity: .*(?:is corrupted|metadata block)")),
    (Trouble.EMERGENCY, re.compile(r"emergency (?:mode|shell)|Freezing execution", re.IGNORECASE)),
    (Trouble.UNIT, re.compile(r"\[FAILED\] Failed to start |systemd\[1\]: Failed to start ")),
    (
        Trouble.REFUSED,
        re.compile(
            r"BdsDxe: failed to (?:load|start) Boot.*(?:Access Denied|Security Violation)"
            # of what QEMU hands over; firmware then looks for something else to start, which is not what was asked for
            r"|OVMF: Secure boot image verification failed"
        ),
    ),
)

_FATAL = frozenset({Trouble.PANIC, Trouble.EMERGENCY})
_KERNEL_FAULT = re.compile(r"Fatal exception|Attempted to kill the idle task")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the console, without control characters."""

    seconds: float
    """When its first byte came."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """A line that tells of trouble."""

    kind: Trouble
    line: Line


class Console:
    """Collects a console's bytes."""

    def __init__(self) -> None:
        """Start empty."""
        self.lines: deque[Line] = deque(maxlen=_MAX_LINES)
        self.milestones: dict[str, float] = {}
        self.signs: list[Sign] = []
        self._rest = b""
        self._since = 0.0

    def feed(self, data: bytes, seconds: float) -> None:
        """Take the bytes that came at a time."""
        if not self._rest:
            self._since = seconds
        pieces = (self._rest + data).split(b"\n")
        for piece in pieces[:-1]:
            self._line(piece)
            self._since = seconds
        self._rest = pieces[-1]
        if len(self._rest) > _MAX_LINE:
            self._line(self._rest)
            self._rest = b""

    def close(self) -> None:
        """Take what is left as a line: nothing more will come."""
        if self._rest:
            self._line(self._rest)
            self._rest = b""

    @property
    def fatal(self) -> Sign | None:
        """The first sign after which waiting is of no use."""
        return next((sign for sign in self.signs if sign.kind in _FATAL), None)

    @property
    def refused(self) -> Sign | None:
        """The first refusal of the firmware: what it would start now is not what it was to start."""
        return next((sign for sign in self.signs if sign.kind is Trouble.REFUSED), None)

    @property
    def oops(self) -> Sign | None:
        """The first fault of the kernel."""
        return next((sign for sign in self.signs if sign.kind is Trouble.OOPS), None)

    @property
    def kernel_fault(self) -> bool:
        """Whether the kernel stopped by a fault in itself, rather than because it had no root or no init."""
        return any(sign.kind is Trouble.PANIC and _KERNEL_FAULT.search(sign.line.text) for sign in self.signs)

    def tail(self, count: int) -> tuple[str, ...]:
        """Return the texts of the last lines."""
        return tuple(line.text for line in self.lines)[-count:]

    def log(self) -> str:
        """Return all lines, each with its time, as a serial log is kept."""
        return "".join(f"[{line.seconds:9.3f}] {line.text}\n" for line in self.lines)

    def _line(self, raw: bytes) -> None:
        text = _CONTROLS.sub("", _ESCAPES.sub("", raw[:_MAX_LINE].decode(errors="replace"))).rstrip()
        if not text:
            return
        line = Line(seconds=self._since, text=text)
        self.lines.append(line)
        for name, pattern in MILESTONES:
            if name not in self.milestones and pattern.search(text):
                self.milestones[name] = line.seconds
        for kind, pattern in _TROUBLES:
            if pattern.search(text):
                self.signs.append(Sign(kind=kind, line=line))
                break
