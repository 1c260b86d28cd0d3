"""Stands in for QEMU and swtpm, as a program: `fake_machine.py SCENARIO PROGRAM ARGUMENTS…`.

It speaks enough of each one's protocols on the descriptors that it is given to boot a scenario in no time.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import sys
import threading
import time
from pathlib import Path

BANKS = {0x0004: "sha1", 0x000B: "sha256", 0x000C: "sha384"}
EVENTS = ((0, "crtm"), (4, "UKI"), (11, "section .linux"))
"""What the fake firmware extends, as PCR and the text that is hashed."""


def digest(alg: str, text: str) -> bytes:
    return hashlib.new(alg, text.encode()).digest()


def descriptor(arguments: list[str], pattern: str) -> socket.socket:
    match = re.search(pattern, " ".join(arguments))
    assert match is not None
    return socket.socket(fileno=int(match[1]))


def swtpm(arguments: list[str]) -> None:
    control = descriptor(arguments, r"clientfd=(\d+)")
    pcrs = {alg: [bytes(hashlib.new(name).digest_size)] * 24 for alg, name in BANKS.items()}
    for bank in pcrs.values():
        bank[17:23] = [b"\xff" * len(bank[0])] * 6

    def answer(command: bytes) -> bytes:
        code = int.from_bytes(command[6:10])
        body = b""
        if code == 0x17E:
            alg = int.from_bytes(command[14:16])
            selection = int.from_bytes(command[-3:], "little")
            chosen = [pcr for pcr in range(24) if selection >> pcr & 1][:8]
            bits = sum(1 << pcr for pcr in chosen).to_bytes(3, "little")
            body = struct.pack(">IIHB", 1, 1, alg, 3) + bits + struct.pack(">I", len(chosen))
            body += b"".join(struct.pack(">H", len(pcrs[alg][pcr])) + pcrs[alg][pcr] for pcr in chosen)
        elif code == 0x182:
            pcr = int.from_bytes(command[10:14])
            offset = 18 + int.from_bytes(command[14:18]) + 4
            while offset < len(command):
                alg = int.from_bytes(command[offset : offset + 2])
                size = len(pcrs[alg][0])
                value = pcrs[alg][pcr] + command[offset + 2 : offset + 2 + size]
                pcrs[alg][pcr] = hashlib.new(BANKS[alg], value).digest()
                offset += 2 + size
        return struct.pack(">HII", 0x8001, 10 + len(body), 0) + body

    def serve(data: socket.socket) -> None:
        while header := data.recv(10, socket.MSG_WAITALL):
            size = int.from_bytes(header[2:6])
            data.sendall(answer(header + (data.recv(size - 10, socket.MSG_WAITALL) if size > 10 else b"")))

    while True:
        message, fds, _, _ = socket.recv_fds(control, 4096, 1)
        if not message:
            return
        for fd in fds:
            threading.Thread(target=serve, args=(socket.socket(fileno=fd),), daemon=True).start()
        control.sendall(bytes(4))


def qemu(scenario: str, arguments: list[str]) -> None:
    if scenario.startswith("crash-once:"):
        marker = Path(scenario.partition(":")[2])
        if not marker.exists():
            marker.touch()
            print("qemu: assertion failed", file=sys.stderr)
            sys.exit(134)
        scenario = "up"
    monitor = descriptor(arguments, r"socket,id=qmp,fd=(\d+)")
    control = descriptor(arguments, r"socket,id=tpm,fd=(\d+)")
    server = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []
    up = scenario in ("up", "oops", "other", "failed-check", "stops-later", "phases")

    def talk() -> None:
        greeting = {"QMP": {"version": {"qemu": {"major": 0, "minor": 1, "micro": 2}, "package": "fake"}}}
        monitor.sendall(json.dumps(greeting).encode() + b"\n")
        for line in monitor.makefile("rb"):
            port = server.getsockname()[1]
            table = f"  TCP[HOST_FORWARD]  9  127.0.0.1 {port}  10.0.2.15 15150  0  0\r\n"
            if connections:
                table += f"  TCP[ESTABLISHED]  9  127.0.0.1 {port}  10.0.2.15 15150  0  0\r\n"
            monitor.sendall(json.dumps({"return": table, "id": json.loads(line)["id"]}).encode() + b"\n")

    threading.Thread(target=talk, daemon=True).start()
    data, theirs = socket.socketpair()
    socket.send_fds(control, [struct.pack(">I", 16)], [theirs.fileno()])
    theirs.close()
    assert control.recv(4) == bytes(4)
    control.sendall(struct.pack(">I", 2))
    assert control.recv(4) == bytes(4)

    def extend(pcr: int, measured: str) -> None:
        values = b"".join(struct.pack(">H", alg) + digest(name, measured) for alg, name in BANKS.items())
        body = struct.pack(">II", pcr, 9) + struct.pack(">IHBH", 0x40000009, 0, 0, 0)
        body += struct.pack(">I", len(BANKS)) + values
        data.sendall(struct.pack(">HII", 0x8002, 10 + len(body), 0x182) + body)
        assert len(data.recv(4096)) == 10

    for pcr, text in EVENTS:
        extend(pcr, "section .another" if scenario == "other" and pcr == 11 else text)
    say = sys.stdout.buffer.raw.write  # type: ignore[attr-defined]
    say(b"BdsDxe: starting Boot0001\r\n[    0.000000] Linux version 6.12\r\n")
    if scenario == "refused":
        say(b'BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0): Access Denied\r\n')
    if scenario == "oops":
        say(b"[    1.0] Oops: invalid opcode: 0000 [#1] PREEMPT SMP NOPTI\r\n")
    if scenario == "panic":
        say(b"[    1.0] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n")
    if scenario == "fault":
        say(b"[    1.0] Kernel panic - not syncing: Fatal exception in interrupt\r\n")
    if scenario == "stops":
        sys.exit(0)
    if up:
        connection, _ = server.accept()
        connections.append(connection)
        connection.sendall(
            b"PASS kata-agent: up\n" + (b"FAIL kata-agent: bad\n" if scenario == "failed-check" else b"")
        )
        connection.shutdown(socket.SHUT_WR)
    if scenario == "phases":
        # the last phase comes later than the registers would count as settled
        extend(11, "sysinit")
        time.sleep(1)
        extend(11, "ready")
    if scenario == "stops-later":
        sys.exit(0)
    threading.Event().wait()


if __name__ == "__main__":
    if sys.argv[2] == "swtpm":
        swtpm(sys.argv[3:])
    else:
        qemu(sys.argv[1], sys.argv[3:])
