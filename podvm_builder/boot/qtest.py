"""QEMU's qtest protocol: ports and memory of a machine read and written from outside, and its fw_cfg device.

Protocol: QEMU ``docs/devel/testing/qtest.rst``, one line a command and one an answer. fw_cfg:
``docs/specs/fw_cfg.rst``, through its DMA interface, which is big-endian.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
from collections.abc import Mapping

from podvm_builder.errors import BuildFailed

CODE = "PVB530"
FILE_DIRECTORY = 0x19
_DMA_HIGH, _DMA_LOW = 0x514, 0x518
_ERROR, _READ, _SELECT = 1, 2, 8
_CONTROL_SIZE = 16
_ENTRY = struct.Struct(">IHH56s")
_MAX_FILES = 4096
_MAX_FILE = 64 << 20


class Qtest:
    """One connection to a machine; every command waits for its answer.

    Args:
        sock: connected socket whose other end QEMU has as its qtest chardev. Closed by :meth:`close`.
        timeout: seconds that an answer may take.
    """

    def __init__(self, sock: socket.socket, *, timeout: float = 30.0) -> None:
        """Take the socket over."""
        sock.settimeout(timeout)
        self._sock = sock
        self._stream = sock.makefile("rb")

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._stream.close()
        self._sock.close()

    def command(self, line: str) -> str:
        """Send a command and return what follows ``OK`` in its answer.

        Raises:
            BuildFailed: PVB530, QEMU refused it, hung up or did not answer.
        """
        try:
            self._sock.sendall(line.encode() + b"\n")
            while answer := self._stream.readline():
                word, _, rest = answer.strip().partition(b" ")
                if word == b"IRQ":
                    continue  # an interrupt line changed meanwhile
                if word != b"OK":
                    break
                return rest.decode("ascii", "replace")
        except OSError as error:
            raise BuildFailed(f"QEMU does not answer over qtest: {error}", code=CODE) from error
        said = answer.decode("ascii", "replace").strip() or "it hung up"
        raise BuildFailed(f"QEMU over qtest, to `{line[:40]}`: {said[:200]}", code=CODE)

    def read(self, address: int, length: int) -> bytes:
        """Return guest memory."""
        try:
            data = base64.b64decode(self.command(f"b64read {address:#x} {length:#x}"), validate=True)
        except ValueError as error:
            raise BuildFailed(f"QEMU over qtest: {error}", code=CODE) from error
        if len(data) != length:
            raise BuildFailed(f"QEMU over qtest: {len(data)} bytes of {length}", code=CODE)
        return data

    def write(self, address: int, data: bytes) -> None:
        """Write guest memory."""
        self.command(f"write {address:#x} {len(data):#x} 0x{data.hex()}")

    def out32(self, port: int, value: int) -> None:
        """Write a port."""
        self.command(f"outl {port:#x} {value:#x}")


class FwCfg:
    """The fw_cfg device of a machine.

    Args:
        qtest: the machine.
        scratch: guest memory that may be overwritten, from here on; as much as the largest file takes and a page.
    """

    def __init__(self, qtest: Qtest, *, scratch: int) -> None:
        """Read the directory."""
        self._qtest = qtest
        self._control, self._buffer = scratch, scratch + 4096
        (count,) = struct.unpack(">I", self.item(FILE_DIRECTORY, 4))
        if count > _MAX_FILES:
            raise BuildFailed(f"fw_cfg: {count} files; at most {_MAX_FILES} are credible", code=CODE)
        listing = self.item(FILE_DIRECTORY, 4 + count * _ENTRY.size)
        self.files: Mapping[str, tuple[int, int]] = {
            name.split(b"\0")[0].decode("latin-1"): (key, size)
            for size, key, _, name in _ENTRY.iter_unpack(listing[4:])
        }
        """Key and size of each file, by name."""

    def file(self, name: str) -> bytes | None:
        """Return a file, None where there is none."""
        if name not in self.files:
            return None
        key, size = self.files[name]
        return self.item(key, size) if size else b""

    def item(self, key: int, size: int) -> bytes:
        """Return the first bytes of the item with a key.

        Raises:
            BuildFailed: PVB530, the device refused.
        """
        if size > _MAX_FILE:
            raise BuildFailed(f"fw_cfg: a file of {size} bytes; at most {_MAX_FILE} are credible", code=CODE)
        self._qtest.write(self._control, struct.pack(">IIQ", key << 16 | _SELECT | _READ, size, self._buffer))
        # the address is big-endian on a port that is little-endian, and writing its lower half starts the transfer
        for port, half in ((_DMA_HIGH, self._control >> 32), (_DMA_LOW, self._control & 0xFFFF_FFFF)):
            self._qtest.out32(port, int.from_bytes(half.to_bytes(4, "big"), "little"))
        (state, *_) = struct.unpack(">IIQ", self._qtest.read(self._control, _CONTROL_SIZE))
        if state & _ERROR:
            raise BuildFailed(f"fw_cfg: item {key:#x} cannot be read", code=CODE)
        return self._qtest.read(self._buffer, size)
