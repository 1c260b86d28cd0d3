"""QEMU's monitor, without waiting: commands go out, answers and events are collected when they come.

Protocol: QEMU Machine Protocol, one JSON object a line.
"""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass
from typing import Any

_MAX_BUFFER = 1 << 20
_ROW = re.compile(
    r"^\s*TCP\[(?P<state>\w+)\]\s+\d+\s+(?P<host>[\d.]+)\s+(?P<host_port>\d+)\s+[\d.]+\s+(?P<guest_port>\d+)\s",
    re.MULTILINE,
)


class Monitor:
    """One connection to a QEMU; never blocks.

    Args:
        sock: connected socket whose other end QEMU has as its monitor's chardev. Closed by :meth:`close`.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Take the socket over and leave QEMU's negotiation mode."""
        sock.setblocking(False)
        self._sock = sock
        self._buffer = b""
        self._answers: dict[int, Any] = {}
        self._last = 0
        self.version: str | None = None
        """QEMU's version, known once it has greeted."""
        self.events: list[str] = []
        """Names of the events so far, in order."""
        self.closed = False
        """QEMU has closed the connection, or sent what is no QMP."""
        self._send("qmp_capabilities")

    def fileno(self) -> int:
        """Return the socket's descriptor, for a selector."""
        return self._sock.fileno()

    def ask_network(self) -> int:
        """Ask for the state of the user network; the number is for :meth:`answer`."""
        return self._send("human-monitor-command", {"command-line": "info usernet"})

    def answer(self, number: int) -> str | None:
        """Take the answer to a command, once: its text, empty if QEMU refused; None while there is none."""
        if number not in self._answers:
            return None
        value = self._answers.pop(number)
        return value if isinstance(value, str) else ""

    def poll(self) -> None:
        """Take what has come."""
        try:
            while piece := self._sock.recv(1 << 16):
                self._buffer += piece
                if len(self._buffer) > _MAX_BUFFER:
                    break
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True
        else:
            self.closed = True
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            try:
                self._take(json.loads(line))
            except (ValueError, RecursionError):
                self.closed = True

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def _send(self, command: str, arguments: dict[str, Any] | None = None) -> int:
        self._last += 1
        message = {"execute": command, "arguments": arguments or {}, "id": self._last}
        try:
            self._sock.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.closed = True
        return self._last

    def _take(self, message: object) -> None:
        if not isinstance(message, dict):
            return
        if "QMP" in message:
            version = message["QMP"]["version"]
            numbers = version["qemu"]
            self.version = f"{numbers['major']}.{numbers['minor']}.{numbers['micro']} {version['package']}".strip()
        elif "event" in message:
            self.events.append(str(message["event"]))
        elif isinstance(message.get("id"), int) and message["id"] > 1:
            self._answers[message["id"]] = message.get("return")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """What `info usernet` says of one forwarded port."""

    host_port: int | None
    """Port on the host's loopback that leads to the guest's; None until QEMU listens."""
    accepted: bool
    """The guest has accepted a connection: it has answered the handshake, which QEMU alone does not do."""


def forwarding(text: str, guest_port: int) -> Forwarding:
    """Read the answer to :meth:`Monitor.ask_network`."""
    host_port = None
    accepted = False
    for row in _ROW.finditer(text):
        if int(row["guest_port"]) != guest_port:
            continue
        if row["state"] == "HOST_FORWARD":
            host_port = int(row["host_port"])
        elif row["state"] in ("ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT_1", "FIN_WAIT_2"):
            accepted = True
    return Forwarding(host_port=host_port, accepted=accepted)
