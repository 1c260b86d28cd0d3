"""QEMU's monitor and the forwarder's port, with a stand-in for QEMU."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from podvm_builder.boot.port import ForwarderProbe
from podvm_builder.boot.qmp import Monitor, forwarding

HEADER = "Hub -1 (net0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"


def row(state: str, host_port: int, guest_port: int = 15150) -> str:
    return f"  TCP[{state}]  {'12':>10}       127.0.0.1 {host_port}       10.0.2.15 {guest_port}     0     0\r\n"


class FakeQemu:
    """Greets, and answers `info usernet` with what it is told to."""

    def __init__(self) -> None:
        self.sock, self.theirs = socket.socketpair()
        self.text = HEADER
        version = {"qemu": {"major": 10, "minor": 0, "micro": 13}, "package": "Debian"}
        self.say({"QMP": {"version": version, "capabilities": []}})

    def say(self, message: object) -> None:
        self.sock.sendall(json.dumps(message).encode() + b"\r\n")

    def answer(self) -> None:
        """Answer all commands that have come."""
        self.sock.setblocking(False)
        try:
            lines = self.sock.recv(1 << 16).splitlines()
        except BlockingIOError:
            return
        finally:
            self.sock.setblocking(True)
        for line in lines:
            command = json.loads(line)
            value = {} if command["execute"] == "qmp_capabilities" else self.text
            self.say({"return": value, "id": command["id"]})


@pytest.fixture
def qemu() -> Iterator[FakeQemu]:
    fake = FakeQemu()
    yield fake
    fake.sock.close()
    fake.theirs.close()


def test_monitor_greets_answers_and_tells(qemu: FakeQemu) -> None:
    monitor = Monitor(qemu.theirs)
    monitor.poll()
    assert monitor.version == "10.0.13 Debian"
    number = monitor.ask_network()
    assert monitor.answer(number) is None
    qemu.say({"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}})
    qemu.answer()
    monitor.poll()
    assert monitor.events == ["STOP"]
    assert monitor.answer(number) == HEADER
    assert monitor.answer(number) is None
    assert not monitor.closed


@pytest.mark.parametrize("text", [b"no json\n", b"[[\n"])
def test_monitor_of_something_else_is_closed(qemu: FakeQemu, text: bytes) -> None:
    monitor = Monitor(qemu.theirs)
    qemu.sock.sendall(text)
    monitor.poll()
    assert monitor.closed


def test_monitor_sees_qemu_leave(qemu: FakeQemu) -> None:
    monitor = Monitor(qemu.theirs)
    qemu.sock.close()
    monitor.poll()
    monitor.ask_network()
    assert monitor.closed


def test_forwarding_reads_the_table() -> None:
    text = HEADER + row("SYN_SENT", 38941) + row("HOST_FORWARD", 38941) + row("ESTABLISHED", 22, guest_port=22)
    state = forwarding(text, 15150)
    assert (state.host_port, state.accepted) == (38941, False)
    for name in ("ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT_2"):
        assert forwarding(text + row(name, 38941), 15150).accepted
    nothing = forwarding("", 15150)
    assert (nothing.host_port, nothing.accepted) == (None, False)


def test_a_connection_alone_is_no_answer(qemu: FakeQemu) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monitor = Monitor(qemu.theirs)
        probe = ForwarderProbe(monitor, 15150)
        now = 0.0

        def step() -> bool:
            nonlocal now
            now += 1.0
            qemu.answer()
            monitor.poll()
            return probe.step(now)

        assert not step()
        qemu.text = HEADER + row("HOST_FORWARD", port)
        for _ in range(4):
            assert not step()
        connection, _ = server.accept()
        with connection:
            # QEMU has accepted, the guest has not
            qemu.text = HEADER + row("SYN_SENT", port) + row("HOST_FORWARD", port)
            for _ in range(3):
                assert not step()
            qemu.text = HEADER + row("ESTABLISHED", port) + row("HOST_FORWARD", port)
            assert any(step() for _ in range(3))
        probe.close()


def test_what_the_guest_says_is_read_to_its_end(qemu: FakeQemu) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monitor = Monitor(qemu.theirs)
        probe = ForwarderProbe(monitor, 15150)
        qemu.text = HEADER + row("HOST_FORWARD", server.getsockname()[1])
        for now in range(1, 5):
            qemu.answer()
            monitor.poll()
            probe.step(float(now))
        connection, _ = server.accept()
        connection.sendall(b"PASS kata-agent: up\n")
        connection.close()
        assert probe.listen(30, more=30) == "PASS kata-agent: up\n"
        probe.close()
        assert probe.listen(30, more=30) == ""
