"""A relay between QEMU and swtpm that sees every TPM command and slips its own in between.

QEMU's TPM emulator backend speaks swtpm's control protocol on one connection (4-byte big-endian command code,
then its body) and hands a second descriptor over with ``CMD_SET_DATAFD``, on which TPM commands and responses
then travel. The relay keeps QEMU's end, gives swtpm one of its own, and passes everything on one message at a
time. So a PCR can be read while the guest runs, and every extend is known, whatever the guest is: no log, no
agent and no debug hook in the image.

Protocol: swtpm's ``tpm_ioctl.h`` and QEMU's ``backends/tpm/tpm_emulator.c``.
"""

from __future__ import annotations

import array
import contextlib
import os
import selectors
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from podvm_builder.boot import tpm
from podvm_builder.boot.tpm import PcrChange
from podvm_builder.errors import Finding, FormatError

CMD_INIT = 2
CMD_SHUTDOWN = 3
CMD_SET_DATAFD = 16

_MAX_CONTROL = 1 << 16
_CODE = "PVB514"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedExtend:
    """One change of a PCR as it passed, with its time on the relay's clock."""

    seconds: float
    change: PcrChange


class TpmTap:
    """The relay. It runs in a thread of its own from :meth:`start` to :meth:`stop`.

    A lock is held from the first byte of a message to the last of its answer, so a read of ours never lands
    between a command of the guest's and its response.

    Args:
        qemu: connected socket whose other end QEMU has as its TPM's chardev.
        swtpm: connected socket whose other end swtpm has as its control channel.
        clock: seconds, monotonic; gives the times of the extends.
        timeout: seconds to wait for swtpm to answer one message; making a key takes several under load.
    """

    def __init__(
        self, *, qemu: socket.socket, swtpm: socket.socket, clock: Callable[[], float], timeout: float = 60.0
    ) -> None:
        """Take both sockets over."""
        self._qemu = qemu
        self._swtpm = swtpm
        self._clock = clock
        self._timeout = timeout
        self._qemu_data: socket.socket | None = None
        self._swtpm_data: socket.socket | None = None
        self._lock = threading.Lock()
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, name="tpm-tap", daemon=True)
        self._extends: list[ObservedExtend] = []
        self._failure: str | None = None
        swtpm.settimeout(timeout)

    def start(self) -> None:
        """Begin to relay."""
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._selector.register(self._qemu, selectors.EVENT_READ)
        self._thread.start()

    def stop(self) -> None:
        """End the relay and close every socket, those given to it included. Safe to call twice."""
        if self._thread.is_alive():
            self._wake.close()
            # a wait for swtpm's answer ends here, not at its time-out
            for sock in (self._swtpm, self._swtpm_data):
                if sock is not None:
                    _shutdown(sock)
            self._thread.join()
        self._selector.close()
        for sock in (self._wake, self._woken, self._qemu, self._swtpm, self._qemu_data, self._swtpm_data):
            if sock is not None:
                sock.close()

    @property
    def extends(self) -> tuple[ObservedExtend, ...]:
        """Every change of a PCR since the TPM was last powered on, in order."""
        with self._lock:
            return tuple(self._extends)

    @property
    def failure(self) -> str | None:
        """Why the relay ended although nobody asked it to, or None."""
        with self._lock:
            return self._failure

    def pcrs(self, banks: Sequence[str]) -> dict[str, dict[int, bytes]] | None:
        """Read the PCRs of these banks between two commands of the guest; None before the TPM is started.

        Raises:
            Finding: PVB514, swtpm does not answer or answers nonsense.
        """
        with self._lock:
            if self._swtpm_data is None:
                return None
            try:
                return tpm.read_pcrs(self._exchange, banks)
            except (OSError, EOFError, FormatError) as error:
                raise Finding(f"the TPM emulator could not be read: {error}", code=_CODE) from error

    def _run(self) -> None:
        try:
            while True:
                for key, _ in self._selector.select():
                    if key.fileobj is self._woken:
                        return
                    with self._lock:
                        if key.fileobj is self._qemu:
                            if not self._relay_control():
                                return
                        elif key.fileobj is self._qemu_data:  # not one that was just replaced
                            self._relay_command()
        except (OSError, EOFError, FormatError) as error:
            with self._lock:
                self._failure = f"{type(error).__name__}: {error}"
        finally:
            # QEMU must not wait for ever for a relay that has ended
            _shutdown(self._qemu)
            if self._qemu_data is not None:
                _shutdown(self._qemu_data)

    def _relay_control(self) -> bool:
        """Pass one control message on, and its answer back; False when QEMU has gone."""
        message, ancillary, _, _ = self._qemu.recvmsg(_MAX_CONTROL, socket.CMSG_SPACE(4 * array.array("i").itemsize))
        descriptor = _descriptor(ancillary)
        if not message:
            return False
        command = int.from_bytes(message[:4])
        if command == CMD_SET_DATAFD:
            if descriptor is None:
                raise FormatError("CMD_SET_DATAFD came without its descriptor", code=_CODE)
            self._splice(message, descriptor)
        else:
            self._swtpm.sendall(message)
        answer = self._swtpm.recv(_MAX_CONTROL)
        if not answer:
            if command == CMD_SHUTDOWN:
                return False  # swtpm may leave without a word
            raise EOFError("swtpm closed its control channel")
        if command == CMD_INIT and not any(answer[:4]):
            self._extends.clear()  # the registers start again
        self._qemu.sendall(answer)
        return True

    def _splice(self, message: bytes, descriptor: int) -> None:
        """Keep QEMU's data descriptor and give swtpm an end of our own socket pair in its place."""
        if self._qemu_data is not None and self._swtpm_data is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(self._qemu_data)
            self._qemu_data.close()
            self._swtpm_data.close()
        self._qemu_data = socket.socket(fileno=descriptor)
        self._qemu_data.settimeout(self._timeout)
        self._swtpm_data, theirs = socket.socketpair()
        self._swtpm_data.settimeout(self._timeout)
        with theirs:
            socket.send_fds(self._swtpm, [message], [theirs.fileno()])
        self._selector.register(self._qemu_data, selectors.EVENT_READ)

    def _relay_command(self) -> None:
        """Pass one TPM command on, note what it changes, and its response back."""
        assert self._qemu_data is not None  # noqa: S101 - registered only once it is there
        try:
            command = _receive(self._qemu_data)
        except EOFError:  # QEMU is leaving; its control channel may still say goodbye
            self._selector.unregister(self._qemu_data)
            return
        response = self._exchange(command)
        change = tpm.pcr_change(command, response)
        if change is not None:
            self._extends.append(ObservedExtend(seconds=self._clock(), change=change))
        self._qemu_data.sendall(response)

    def _exchange(self, command: bytes) -> bytes:
        assert self._swtpm_data is not None  # noqa: S101 - both data ends come together
        self._swtpm_data.sendall(command)
        return _receive(self._swtpm_data)


def _receive(sock: socket.socket) -> bytes:
    """Receive one whole TPM command or response."""
    header = _receive_exactly(sock, tpm.HEADER)
    return header + _receive_exactly(sock, tpm.message_size(header) - tpm.HEADER)


def _receive_exactly(sock: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = sock.recv(length - len(data))
        if not piece:
            raise EOFError(f"a TPM connection closed after {len(data)} of {length} bytes")
        data += piece
    return bytes(data)


def _descriptor(ancillary: Sequence[tuple[int, int, bytes]]) -> int | None:
    """Return the descriptor that came with a message; any beyond the first is closed."""
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    for extra in found[1:]:
        os.close(extra)
    return found[0] if found else None


def _shutdown(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
