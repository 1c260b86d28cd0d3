"""Whether the guest's forwarder answers, seen from outside.

QEMU's user network accepts a connection to a forwarded port at once, long before the guest has even started.
So a connection proves nothing by itself: the guest has answered when QEMU's table of connections says that the
handshake with the guest is through.
"""

from __future__ import annotations

import contextlib
import socket

from podvm_builder.boot.qmp import Monitor, forwarding

_ATTEMPT = 4.0
"""Seconds before a connection that the guest does not answer is made anew: QEMU repeats its first packet less
and less often, so that an old connection learns late that the guest is there."""
_ASK = 0.5
_MAX_SAID = 1 << 16


class ForwarderProbe:
    """Connects to the forwarder's port until the guest accepts; call :meth:`step` every so often, it never waits."""

    def __init__(self, monitor: Monitor, guest_port: int) -> None:
        """Probe a port of the guest behind this monitor's machine."""
        self._monitor = monitor
        self._guest_port = guest_port
        self._host_port: int | None = None
        self._connection: socket.socket | None = None
        self._connected = 0.0
        self._question: int | None = None
        self._asked = 0.0
        self.accepted = False
        """The guest has accepted a connection."""

    def step(self, now: float) -> bool:
        """Do what is due at a time in seconds; True once the guest has accepted."""
        if self._question is not None:
            text = self._monitor.answer(self._question)
            if text is not None:
                self._question = None
                state = forwarding(text, self._guest_port)
                self._host_port = state.host_port or self._host_port
                self.accepted = self.accepted or state.accepted
        elif now - self._asked >= _ASK or self._host_port is None:
            self._question = self._monitor.ask_network()
            self._asked = now
        if self._connection is not None and (now - self._connected >= _ATTEMPT or _ended(self._connection)):
            self.close()
        if self._connection is None and self._host_port is not None and now - self._connected >= _ASK:
            self._connected = now
            with contextlib.suppress(OSError):
                self._connection = socket.create_connection(("127.0.0.1", self._host_port), timeout=2)
                self._connection.setblocking(False)
        return self.accepted

    def listen(self, seconds: float, *, more: float) -> str:
        """Return what the guest says on the connection that it accepted, until it hangs up.

        A forwarder speaks only when it is spoken to; the selftest component sends its report and hangs up.

        Args:
            seconds: how long to wait for the first word.
            more: how long to wait for each further one.
        """
        if self._connection is None:
            return ""
        self._connection.settimeout(seconds)
        said = bytearray()
        with contextlib.suppress(OSError):
            while len(said) < _MAX_SAID and (piece := self._connection.recv(_MAX_SAID - len(said))):
                said += piece
                self._connection.settimeout(more)
        return said.decode(errors="replace")

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _ended(connection: socket.socket) -> bool:
    """Say whether the other side has closed or refused; what it sends is not read further."""
    try:
        return connection.recv(4096, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
