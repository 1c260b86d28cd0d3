"""The relay and the TPM's wire format against swtpm itself, which runs in the tools tree."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from podvm_builder.boot import tpm
from podvm_builder.boot.machine import BANKS, swtpm_arguments
from podvm_builder.boot.tap import CMD_INIT, CMD_SET_DATAFD, TpmTap
from podvm_builder.errors import Lacking
from podvm_builder.tools.process import stop
from podvm_builder.tools.sandbox import Bind
from podvm_builder.tools.tree import ToolsTree
from tests.support.tools_tree import tree_root
from tests.support.tpm_commands import extend_command, startup_command

PASSWORD = struct.pack(">IHBH", 0x40000009, 0, 0, 0)


@dataclass
class Tpm:
    """A swtpm behind the relay, and the guest's end of it."""

    tap: TpmTap
    control: socket.socket
    data: socket.socket

    def ask(self, command: int, body: bytes = b"") -> None:
        self.control.sendall(struct.pack(">I", command) + body)
        assert self.control.recv(4, socket.MSG_WAITALL) == bytes(4)

    def run(self, command: bytes) -> bytes:
        self.data.sendall(command)
        header = self.data.recv(tpm.HEADER, socket.MSG_WAITALL)
        rest = tpm.message_size(header) - tpm.HEADER
        answer = header + (self.data.recv(rest, socket.MSG_WAITALL) if rest else b"")
        assert tpm.response_code(answer) == 0
        return answer


@pytest.fixture
def swtpm(tmp_path: Path) -> Iterator[Tpm]:
    tree = ToolsTree(root=tree_root(), spec_id="", packages_digest="", versions={}, archive=None)
    with ExitStack() as stack:
        qemu_end, tap_to_qemu = socket.socketpair()
        tap_to_swtpm, swtpm_end = socket.socketpair()
        tap = TpmTap(qemu=tap_to_qemu, swtpm=tap_to_swtpm, clock=time.monotonic)
        stack.callback(tap.stop)
        with swtpm_end:
            try:
                process = tree.popen(
                    swtpm_arguments(state="/mnt/tpm", control_fd=swtpm_end.fileno()),
                    binds=[Bind(host=tmp_path, inside="/mnt/tpm")],
                    pass_fds=(swtpm_end.fileno(),),
                )
            except Lacking as error:
                pytest.skip(f"the tools tree cannot be entered here: {error.message}")
        stack.callback(stop, process)
        tap.start()
        stack.enter_context(qemu_end)
        data, theirs = socket.socketpair()
        stack.enter_context(data)
        machine = Tpm(tap=tap, control=qemu_end, data=data)
        with theirs:
            socket.send_fds(qemu_end, [struct.pack(">I", CMD_SET_DATAFD)], [theirs.fileno()])
        assert qemu_end.recv(4, socket.MSG_WAITALL) == bytes(4)
        machine.ask(CMD_INIT, bytes(4))
        yield machine


def digests(text: bytes) -> dict[str, bytes]:
    return {alg: hashlib.new(alg, text).digest() for alg in BANKS}


def chain(alg: str, *texts: bytes) -> bytes:
    value = bytes(hashlib.new(alg).digest_size)
    for text in texts:
        value = hashlib.new(alg, value + hashlib.new(alg, text).digest()).digest()
    return value


def test_registers_cannot_be_read_before_startup(swtpm: Tpm) -> None:
    assert swtpm.tap.pcrs(BANKS) is None
    swtpm.run(startup_command())
    assert swtpm.tap.pcrs(BANKS) is not None


def test_a_tpm_without_configuration_has_the_banks_that_are_compared(swtpm: Tpm) -> None:
    swtpm.run(startup_command())
    pcrs = swtpm.tap.pcrs(("sha1", "sha256", "sha384", "sha512"))
    assert pcrs is not None
    assert set(pcrs) >= set(BANKS)
    for alg in BANKS:
        assert set(pcrs[alg]) == set(range(24))
        assert pcrs[alg] == {pcr: tpm.fold([], pcr, alg) for pcr in range(24)}


def test_what_passes_adds_up_to_what_is_read(swtpm: Tpm) -> None:
    swtpm.run(startup_command())
    texts = {pcr: [os.fsencode(f"{pcr}.{i}") for i in range(pcr % 4)] for pcr in range(16)}
    for pcr, words in texts.items():
        for word in words:
            swtpm.run(extend_command(pcr, digests(word)))
    pcrs = swtpm.tap.pcrs(BANKS)
    assert pcrs is not None
    changes = [seen.change for seen in swtpm.tap.extends]
    for pcr, words in texts.items():
        for alg in BANKS:
            assert pcrs[alg][pcr] == chain(alg, *words) == tpm.fold(changes, pcr, alg)


def test_events_that_the_tpm_hashes_are_seen_too(swtpm: Tpm) -> None:
    swtpm.run(startup_command())
    event = struct.pack(">I", len(PASSWORD)) + PASSWORD + struct.pack(">H", 5) + b"hello"
    swtpm.run(struct.pack(">HIII", 0x8002, 14 + len(event), 0x13C, 9) + event)
    started = swtpm.run(struct.pack(">HIIHH", 0x8001, 14, 0x186, 0, 0x0010))
    sequence = int.from_bytes(started[10:14])
    auth = PASSWORD * 2
    body = struct.pack(">III", 9, sequence, len(auth)) + auth + struct.pack(">H", 5) + b"world"
    swtpm.run(struct.pack(">HII", 0x8002, 10 + len(body), 0x185) + body)
    pcrs = swtpm.tap.pcrs(BANKS)
    assert pcrs is not None
    changes = [seen.change for seen in swtpm.tap.extends]
    assert [change.command.value for change in changes] == ["TPM2_PCR_Event", "TPM2_EventSequenceComplete"]
    for alg in BANKS:
        assert pcrs[alg][9] == chain(alg, b"hello", b"world") == tpm.fold(changes, 9, alg)


def test_a_reset_is_seen_too(swtpm: Tpm) -> None:
    swtpm.run(startup_command())
    swtpm.run(extend_command(16, digests(b"gone")))
    body = struct.pack(">II", 16, len(PASSWORD)) + PASSWORD
    swtpm.run(struct.pack(">HII", 0x8002, 10 + len(body), 0x13D) + body)
    swtpm.run(extend_command(16, digests(b"stays")))
    pcrs = swtpm.tap.pcrs(BANKS)
    assert pcrs is not None
    changes = [seen.change for seen in swtpm.tap.extends]
    for alg in BANKS:
        assert pcrs[alg][16] == chain(alg, b"stays") == tpm.fold(changes, 16, alg)


def test_power_on_starts_again(swtpm: Tpm) -> None:
    swtpm.run(startup_command())
    swtpm.run(extend_command(4, digests(b"before")))
    swtpm.ask(CMD_INIT, bytes(4))
    swtpm.run(startup_command())
    pcrs = swtpm.tap.pcrs(BANKS)
    assert pcrs is not None
    assert pcrs["sha256"][4] == bytes(32)
    assert swtpm.tap.extends == ()
