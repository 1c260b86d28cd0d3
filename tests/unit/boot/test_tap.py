"""The relay between a stand-in for QEMU and a stand-in for swtpm, over socket pairs."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from podvm_builder.boot import tpm
from podvm_builder.boot.tap import CMD_INIT, CMD_SET_DATAFD, CMD_SHUTDOWN, TpmTap
from podvm_builder.errors import Finding
from tests.support.tpm_commands import extend_command, startup_command

DIGESTS = {"sha1": b"\x11" * 20, "sha256": b"\x22" * 32}


@dataclass
class FakeSwtpm:
    """Answers control messages with success and TPM commands with a real enough TPM's words."""

    control: socket.socket
    commands: list[int] = field(default_factory=list)
    controls: list[int] = field(default_factory=list)
    pcrs: dict[int, bytes] = field(default_factory=lambda: {pcr: bytes(32) for pcr in range(24)})
    data: socket.socket | None = None

    def serve_control(self) -> None:
        while True:
            message, fds, _, _ = socket.recv_fds(self.control, 4096, 1)
            if not message:
                return
            command = int.from_bytes(message[:4])
            self.controls.append(command)
            if command == CMD_SET_DATAFD:
                self.data = socket.socket(fileno=fds[0])
                threading.Thread(target=self.serve_data, args=(self.data,), daemon=True).start()
            if command == CMD_SHUTDOWN:
                self.control.close()
                return
            self.control.sendall(bytes(4))

    def serve_data(self, data: socket.socket) -> None:
        with data:
            while header := data.recv(10, socket.MSG_WAITALL):
                size = tpm.message_size(header)
                command = header + (data.recv(size - 10, socket.MSG_WAITALL) if size > 10 else b"")
                code = int.from_bytes(command[6:10])
                self.commands.append(code)
                data.sendall(self.answer(command, code))

    def answer(self, command: bytes, code: int) -> bytes:
        if code == 0x17E:
            selection = int.from_bytes(command[-3:], "little")
            pcrs = [pcr for pcr in range(24) if selection >> pcr & 1][:8]
            bits = sum(1 << pcr for pcr in pcrs).to_bytes(3, "little")
            body = struct.pack(">IIHB", 7, 1, 0x0B, 3) + bits + struct.pack(">I", len(pcrs))
            body += b"".join(struct.pack(">H", 32) + self.pcrs[pcr] for pcr in pcrs)
            return struct.pack(">HII", 0x8001, 10 + len(body), 0) + body
        if code == 0x182:
            change = tpm.pcr_change(command, bytes(10))
            assert change is not None
            self.pcrs[change.pcr] = tpm.fold([change], change.pcr, "sha256")
        return struct.pack(">HII", 0x8001, 10, 0)


class FakeQemu:
    """The guest's side: control messages and TPM commands, each with its answer."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.data, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.control, [struct.pack(">I", CMD_SET_DATAFD)], [theirs.fileno()])
        assert self.control.recv(4, socket.MSG_WAITALL) == bytes(4)

    def ask(self, command: int) -> bytes:
        self.control.sendall(struct.pack(">I", command))
        return self.control.recv(4)

    def run(self, command: bytes, *, piecemeal: bool = False) -> bytes:
        if piecemeal:
            for i in range(len(command)):
                self.data.sendall(command[i : i + 1])
        else:
            self.data.sendall(command)
        return self.data.recv(4096)


@contextmanager
def relay() -> Iterator[tuple[TpmTap, FakeQemu, FakeSwtpm]]:
    qemu_end, tap_to_qemu = socket.socketpair()
    swtpm_end, tap_to_swtpm = socket.socketpair()
    swtpm = FakeSwtpm(control=swtpm_end)
    server = threading.Thread(target=swtpm.serve_control)
    server.start()
    ticks = itertools.count(1)
    tap = TpmTap(qemu=tap_to_qemu, swtpm=tap_to_swtpm, clock=lambda: float(next(ticks)), timeout=30)
    tap.start()
    qemu = FakeQemu(qemu_end)
    try:
        yield tap, qemu, swtpm
    finally:
        tap.stop()
        server.join(30)
        for sock in (qemu_end, qemu.data, swtpm_end):
            sock.close()
    assert not server.is_alive()


def test_extends_are_seen_in_order_with_their_times() -> None:
    with relay() as (tap, qemu, swtpm):
        qemu.run(startup_command())
        qemu.run(extend_command(4, DIGESTS))
        qemu.run(extend_command(11, DIGESTS), piecemeal=True)
        assert [(seen.seconds, seen.change.pcr, seen.change.digests) for seen in tap.extends] == [
            (1.0, 4, DIGESTS),
            (2.0, 11, DIGESTS),
        ]
        assert swtpm.commands == [0x144, 0x182, 0x182]
        assert tap.failure is None


def test_registers_are_read_while_the_guest_works() -> None:
    with relay() as (tap, qemu, _):
        stop = threading.Event()
        answers: list[bytes] = []

        def guest() -> None:
            while not stop.is_set():
                answers.append(qemu.run(extend_command(16, DIGESTS)))

        thread = threading.Thread(target=guest)
        thread.start()
        try:
            reads = [tap.pcrs(["sha256"]) for _ in range(50)]
        finally:
            stop.set()
            thread.join(30)
        # nobody got the other's answer
        assert {len(answer) for answer in answers} == {10}
        for read in reads:
            assert read is not None
            assert set(read["sha256"]) == set(range(24))
        assert len(tap.extends) == len(answers)


def test_registers_cannot_be_read_before_the_data_channel() -> None:
    one, other = socket.socketpair()
    three, four = socket.socketpair()
    with other, four:
        tap = TpmTap(qemu=one, swtpm=three, clock=lambda: 0.0)
        tap.start()
        assert tap.pcrs(["sha256"]) is None
        tap.stop()


def test_power_on_starts_the_list_again() -> None:
    with relay() as (tap, qemu, _):
        qemu.run(extend_command(4, DIGESTS))
        assert qemu.ask(CMD_INIT) == bytes(4)
        qemu.run(extend_command(5, DIGESTS))
        assert [seen.change.pcr for seen in tap.extends] == [5]


def test_shutdown_without_an_answer_is_no_failure() -> None:
    with relay() as (tap, qemu, _):
        assert qemu.ask(CMD_SHUTDOWN) == b""
        assert tap.failure is None


def test_a_second_data_channel_replaces_the_first() -> None:
    with relay() as (tap, qemu, _):
        qemu.run(extend_command(4, DIGESTS))
        again = FakeQemu(qemu.control)
        with again.data:
            again.run(extend_command(5, DIGESTS))
            assert [seen.change.pcr for seen in tap.extends] == [4, 5]


def test_a_tpm_that_dies_is_a_failure_and_the_guest_does_not_hang() -> None:
    with relay() as (tap, qemu, swtpm):
        assert swtpm.data is not None
        swtpm.data.shutdown(socket.SHUT_RDWR)
        qemu.data.settimeout(30)
        qemu.data.sendall(startup_command())
        assert qemu.data.recv(10) == b""
        tap._thread.join(30)
        assert tap.failure is not None
        with pytest.raises(Finding) as raised:
            tap.pcrs(["sha256"])
        assert raised.value.code == "PVB514"


def test_nonsense_from_the_guest_is_a_failure() -> None:
    with relay() as (tap, qemu, _):
        qemu.data.sendall(b"\xff" * 10)
        assert qemu.data.recv(10) == b""
        tap._thread.join(30)
        assert tap.failure is not None
        assert "4294967295 bytes" in tap.failure


def test_stop_ends_a_wait_for_an_answer() -> None:
    one, qemu = socket.socketpair()
    three, swtpm = socket.socketpair()
    with qemu, swtpm:
        tap = TpmTap(qemu=one, swtpm=three, clock=lambda: 0.0, timeout=3600)
        tap.start()
        qemu.sendall(struct.pack(">I", CMD_INIT))
        assert swtpm.recv(4) == struct.pack(">I", CMD_INIT)
        tap.stop()
        tap.stop()
        assert not tap._thread.is_alive()
