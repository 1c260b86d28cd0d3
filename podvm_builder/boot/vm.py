"""A running machine: swtpm, the relay, QEMU, its console and its monitor, as one thing that ends as a whole.

All connections are socket pairs whose ends the programs inherit: there are no socket files, nothing to wait for
and nothing to remove. The only port is the one that QEMU forwards, on the loopback.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from podvm_builder.boot.console import Console
from podvm_builder.boot.firmware import BootFirmware
from podvm_builder.boot.machine import FORWARDER_PORT, Machine, Wiring, qemu_arguments, swtpm_arguments
from podvm_builder.boot.port import ForwarderProbe
from podvm_builder.boot.qmp import Monitor
from podvm_builder.boot.tap import TpmTap
from podvm_builder.model.layout import RAW, UKI
from podvm_builder.tools.process import stop
from podvm_builder.tools.sandbox import Bind
from podvm_builder.tools.tree import ToolsTree

_INSIDE = "/mnt/boot"
_IMAGE_INSIDE = f"/mnt/{RAW}"
_KERNEL_INSIDE = f"/mnt/{UKI}"
_MAX_LOG = 1 << 16


class Vm:
    """One machine from :meth:`start` to :meth:`close`; a context manager that closes it.

    Args:
        tree: the tools tree whose QEMU and swtpm run it.
        machine: what it is.
        image: the raw disk; it is not written to.
        firmware: what it starts with.
        kernel: the UKI that QEMU hands over, in a direct boot.
        scratch: an empty folder of its own, to which it may write; the caller removes it.
        clock: seconds since QEMU was started, roughly; all times of this machine are on it.
    """

    def __init__(
        self,
        *,
        tree: ToolsTree,
        machine: Machine,
        image: Path,
        firmware: BootFirmware,
        kernel: Path | None,
        scratch: Path,
        clock: Callable[[], float],
    ) -> None:
        """Only remember; :meth:`start` starts."""
        self._tree = tree
        self._machine = machine
        self._image = image
        self._firmware = firmware
        self._kernel = kernel
        self._scratch = scratch
        self._clock = clock
        self._stack = contextlib.ExitStack()
        self._selector = self._stack.enter_context(selectors.DefaultSelector())
        self.console = Console()
        self.tap: TpmTap
        self.monitor: Monitor
        self.probe: ForwarderProbe
        self._qemu: subprocess.Popen[bytes] | None = None

    def start(self) -> Vm:
        """Start swtpm, then QEMU; return once both run.

        The scratch folder holds ``cidata.iso``, ``vars.fd`` for firmware in flash, and ``hashes.bin`` for firmware that
        checks kernel hashes.

        Raises:
            Lacking: this machine does not allow the tools tree's mounts.
        """
        (self._scratch / "tpm").mkdir()
        binds = [
            Bind(host=self._scratch, inside=_INSIDE),
            Bind(host=self._image, inside=_IMAGE_INSIDE, read_only=True),
            *self._firmware.binds,
        ]
        if self._kernel is not None:
            binds.append(Bind(host=self._kernel, inside=_KERNEL_INSIDE, read_only=True))
        with contextlib.ExitStack() as theirs:
            # closed here once the programs have inherited them, so that their end is seen as the end of the stream
            tap_to_swtpm, swtpm_end = _pair(self._stack, theirs)
            tap_to_qemu, qemu_end = _pair(self._stack, theirs)
            ours, monitor_end = _pair(self._stack, theirs)
            self.tap = TpmTap(qemu=tap_to_qemu, swtpm=tap_to_swtpm, clock=self._clock)
            self._stack.callback(self.tap.stop)
            self.tap.start()
            self._popen(
                swtpm_arguments(state=f"{_INSIDE}/tpm", control_fd=swtpm_end.fileno()),
                binds=binds[:1],
                log="swtpm.log",
                pass_fds=(swtpm_end.fileno(),),
            )
            wiring = Wiring(
                image=_IMAGE_INSIDE,
                firmware_code=self._firmware.path,
                firmware_vars=f"{_INSIDE}/vars.fd" if self._firmware.flash else None,
                kernel=_KERNEL_INSIDE if self._kernel is not None else None,
                hashes=self._hashes(),
                user_data=f"{_INSIDE}/cidata.iso",
                tpm_fd=qemu_end.fileno(),
                qmp_fd=monitor_end.fileno(),
            )
            self._qemu = self._popen(
                qemu_arguments(self._machine, wiring),
                binds=binds,
                log="qemu.log",
                stdout=subprocess.PIPE,
                pass_fds=(qemu_end.fileno(), monitor_end.fileno()),
            )
        self.monitor = Monitor(ours)
        self.probe = ForwarderProbe(self.monitor, FORWARDER_PORT)
        self._stack.callback(self.probe.close)
        assert self._qemu.stdout is not None  # noqa: S101 - we asked for a pipe
        os.set_blocking(self._qemu.stdout.fileno(), False)
        self._selector.register(self._qemu.stdout, selectors.EVENT_READ)
        self._selector.register(self.monitor, selectors.EVENT_READ)
        return self

    def _hashes(self) -> tuple[str, int] | None:
        area = self._firmware.hash_table
        return (f"{_INSIDE}/hashes.bin", area.gpa) if area is not None and self._kernel is not None else None

    def step(self, seconds: float) -> None:
        """Take what the console and the monitor say, waiting for it at most so long."""
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self.monitor:
                self.monitor.poll()
                if self.monitor.closed:
                    self._selector.unregister(self.monitor)
                continue
            self._read_console()

    @property
    def qemu_status(self) -> int | None:
        """QEMU's exit status, 128 + n for a death by signal n; None while it runs."""
        return None if self._qemu is None else self._qemu.poll()

    def qemu_log(self) -> str:
        """Return what QEMU and swtpm wrote on their standard error."""
        texts = []
        for name in ("qemu.log", "swtpm.log"):
            with contextlib.suppress(OSError), (self._scratch / name).open("rb") as file:
                texts.append(file.read(_MAX_LOG).decode(errors="replace"))
        return "".join(texts).strip()

    def close(self) -> None:
        """End everything, and take the last words of the console. Safe to call twice."""
        self._stack.close()
        self.console.close()

    def __enter__(self) -> Vm:
        """Return the machine itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _popen(
        self,
        args: tuple[str, ...],
        *,
        binds: list[Bind],
        log: str,
        pass_fds: tuple[int, ...],
        stdout: int | None = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        with (self._scratch / log).open("wb") as errors:
            process = self._tree.popen(args, binds=binds, stdout=stdout, stderr=errors, pass_fds=pass_fds)
        if process.stdout is not None:
            self._stack.enter_context(process.stdout)
        self._stack.callback(self._end, process)
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        stop(process)
        if process is self._qemu:
            self._read_console()

    def _read_console(self) -> None:
        """Take what the console holds; at its end, stop listening to it."""
        assert self._qemu is not None and self._qemu.stdout is not None  # noqa: S101 - we asked for a pipe
        stdout = self._qemu.stdout
        now = self._clock()
        try:
            while piece := os.read(stdout.fileno(), 1 << 16):
                self.console.feed(piece, now)
        except BlockingIOError:
            return
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(stdout)


def _pair(ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    """Return a socket pair, each end of which is closed with its stack."""
    one, other = socket.socketpair()
    return ours.enter_context(one), theirs.enter_context(other)
