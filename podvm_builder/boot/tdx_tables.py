"""What an unpatched QEMU and the real firmware make of a machine: ACPI, SMBIOS, settings and boot entries.

The firmware runs in emulation, without a trust domain, on the machine that is to be measured, up to the point where it
starts a kernel. A small program stands there for the kernel and stops the machine; then fw_cfg and memory are read from
outside. QEMU makes its tables when the firmware first reads them, and never again: reading earlier, before the firmware
has placed its PCI devices, would give other tables, to us and to the firmware. What decides the tables is QEMU's own
version, the machine's options, and how many physical address bits the CPU has; all are recorded.
"""

from __future__ import annotations

import contextlib
import hashlib
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from podvm_builder.boot.probe import probe_application
from podvm_builder.boot.qmp import Monitor
from podvm_builder.boot.qtest import CODE, FwCfg, Qtest
from podvm_builder.catalog.ovmf import BOOT_MENU, LAYOUTS
from podvm_builder.errors import BuildFailed, FormatError, InputError
from podvm_builder.formats.acpi import LOADER_FILE, RSDP_FILE, TABLES_FILE, AcpiFiles
from podvm_builder.formats.td_hob import q35_memory
from podvm_builder.formats.varstore import GLOBAL, parse_variable_store
from podvm_builder.measure.tdx_machine import BootEntries, TdxMachine
from podvm_builder.tools.process import stop
from podvm_builder.tools.sandbox import Bind, spawn
from podvm_builder.tools.tree import ToolsTree

MACHINE = "q35,kernel-irqchip=split,hpet=off,smm=off,pic=off"
"""As QEMU's documentation starts a trust domain; `-machine` among the arguments replaces it."""
CPU = "qemu64"
PHYS_BITS = 46
"""Physical address bits of the CPUs that have TDX, as far as they are known."""
OURS = (
    *("-accel", "-enable-kvm", "-cpu", "-smp", "-m", "-bios", "-pflash", "-kernel", "-initrd", "-append", "-qtest"),
    *("-S", "-daemonize", "-readconfig", "-no-shutdown", "-nodefaults", "-display", "-chroot", "-runas", "-sandbox"),
)
"""Options that are set here, or would change how the machine is run rather than what it is."""

_INSIDE = "/mnt/tdx"
_TIMEOUT = 60.0
_BOOT_MENU_KEY = 0x0E
_SCAN = 128 << 20
"""Bytes below the top of low memory in which firmware keeps what it allocates for good."""
_STEP = 16 << 20
_SCRATCH = 1 << 20
_VOLUME_NAME = bytes.fromhex("8d2bf1ff96768b4ca9852747075b4f50")
_MAX_SMBIOS = 1 << 20
_SM_32 = (b"_SM_", 31, slice(22, 24), slice(24, 28))
"""The 32-bit entry point: its anchor and size, and where it says the table's length and address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulation:
    """A machine to be emulated."""

    memory: int
    """Bytes."""
    vcpus: int
    cpu: str = CPU
    """QEMU's model name with any features; its signature goes into SMBIOS tables."""
    phys_bits: int = PHYS_BITS
    arguments: tuple[str, ...] = ()
    """Further arguments of QEMU: the devices."""


def read_machine(
    emulation: Emulation, firmware: bytes, *, tree: ToolsTree | None, qemu: str = "qemu-system-x86_64"
) -> TdxMachine:
    """Run the firmware on a machine, and return what it would measure of it in a boot with ``-kernel``.

    Args:
        emulation: the machine.
        firmware: OVMF, as QEMU's ``-bios`` takes it.
        tree: the tools tree that QEMU is run in; None for the host's own.
        qemu: the program.

    Raises:
        InputError: PVB216, an argument that is not a device's; PVB214, a memory size that QEMU does not take.
        BuildFailed: PVB530, QEMU or the firmware in it failed.
        Lacking: PVB310-314, the machine does not allow the sandbox.
    """
    check_arguments(emulation.arguments)
    top = q35_memory(emulation.memory)[0][1]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="podvm-build-tdx-")))
        (folder / "firmware.fd").write_bytes(firmware)
        (folder / "probe.efi").write_bytes(probe_application())
        qtest_end, qtest_socket = _pair(stack)
        monitor_end, monitor_socket = _pair(stack)
        descriptors = (qtest_end.fileno(), monitor_end.fileno())
        args = (qemu, *qemu_arguments(emulation, *descriptors))
        log = stack.enter_context((folder / "log").open("w+b"))
        process = _start(args, folder, tree, log, descriptors)
        stack.callback(stop, process)
        qtest_end.close()
        monitor_end.close()
        monitor = Monitor(monitor_socket)

        def said() -> str:
            log.seek(0)
            lines = log.read(1 << 16).decode(errors="replace").splitlines()
            # what a CPU model lacks under emulation is of no account to tables
            return "; ".join(line for line in lines if line.strip() and ": warning: " not in line)

        _await_probe(monitor, process, said)
        qtest = Qtest(qtest_socket)
        memory = _Memory(qtest, top)
        entries, smbios = memory.boot_entries(), memory.smbios()
        fw_cfg = FwCfg(qtest, scratch=_SCRATCH)
        return TdxMachine(
            memory=emulation.memory,
            acpi=_acpi(fw_cfg),
            settings=_settings(fw_cfg),
            smbios=smbios,
            entries=entries,
            variant=_variant(emulation, monitor.version or "unknown"),
        )


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse arguments that are set here or change how the machine is run.

    Raises:
        InputError: PVB216.
    """
    for argument in arguments:
        name = "-" + argument.lstrip("-").partition("=")[0]
        if argument.startswith("-") and name in OURS:
            raise InputError(f"`{argument}` among QEMU's arguments is set by `measure tdx` itself", code="PVB216")


def qemu_arguments(emulation: Emulation, qtest_fd: int, monitor_fd: int) -> tuple[str, ...]:
    """Return the argument list without the program's name."""
    own = () if any(one in ("-machine", "-M", "--machine") for one in emulation.arguments) else ("-machine", MACHINE)
    return (
        *own,
        *("-accel", "tcg"),
        *("-cpu", f"{emulation.cpu},phys-bits={emulation.phys_bits}"),
        *("-smp", str(emulation.vcpus)),
        *("-m", f"{emulation.memory >> 10}K"),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-no-shutdown"),
        *("-display", "none"),
        *("-bios", f"{_INSIDE}/firmware.fd"),
        *("-kernel", f"{_INSIDE}/probe.efi"),
        *("-chardev", f"socket,id=podvm-qtest,fd={qtest_fd}"),
        *("-qtest", "chardev:podvm-qtest", "-qtest-log", "/dev/null"),
        *("-chardev", f"socket,id=podvm-qmp,fd={monitor_fd}"),
        *("-mon", "chardev=podvm-qmp,mode=control"),
        *emulation.arguments,
    )


def _start(
    args: Sequence[str], folder: Path, tree: ToolsTree | None, log: object, descriptors: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    binds = [Bind(host=folder, inside=_INSIDE, read_only=True)]
    if tree is None:
        return spawn(args, root=None, binds=binds, stdout=subprocess.DEVNULL, stderr=log, pass_fds=descriptors)  # type: ignore[arg-type]
    return tree.popen(args, binds=binds, stdout=subprocess.DEVNULL, stderr=log, pass_fds=descriptors)  # type: ignore[arg-type]


def _await_probe(monitor: Monitor, process: subprocess.Popen[bytes], said: Callable[[], str]) -> None:
    """Wait until the firmware has started the program in the kernel's place, and that has stopped the machine."""
    end = time.monotonic() + _TIMEOUT
    with selectors.DefaultSelector() as selector:
        selector.register(monitor, selectors.EVENT_READ)
        while "SHUTDOWN" not in monitor.events:
            left = end - time.monotonic()
            if process.poll() is not None or monitor.closed:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(2)
                raise BuildFailed(f"QEMU ended: {said() or 'it gives no reason'}", code=CODE)
            if left <= 0:
                raise BuildFailed(
                    f"the firmware did not start the kernel within {_TIMEOUT:.0f} s",
                    code=CODE,
                    hint="an OVMF image with TDX support starts under `qemu-system-x86_64 -bios FILE`, too: try it",
                )
            if selector.select(min(left, 1.0)):
                monitor.poll()


class _Memory:
    """Low memory of a stopped machine, searched from its top."""

    def __init__(self, qtest: Qtest, top: int) -> None:
        self._qtest = qtest
        self._start = max(top - _SCAN, _SCRATCH)
        self._data = b"".join(qtest.read(at, min(_STEP, top - at)) for at in range(self._start, top, _STEP))

    def boot_entries(self) -> BootEntries:
        """Return the boot variables of the store that the firmware keeps in memory."""
        at = -1
        while (at := self._data.find(_VOLUME_NAME, at + 1)) >= 0:
            volume = at - 16
            if volume < 0 or self._data[volume + 40 : volume + 44] != b"_FVH":
                continue
            length = int.from_bytes(self._data[volume + 32 : volume + 40], "little")
            with contextlib.suppress(FormatError):
                store = parse_variable_store(self._data[volume : volume + length])
                found = {
                    name: data
                    for (vendor, name), data in store.variables.items()
                    if vendor == GLOBAL and name.startswith("Boot") and name != "BootCurrent"
                }
                # a template of an empty store may lie about, too
                if store.variables:
                    return found
        raise BuildFailed("the firmware's variables are not found in the machine's memory", code=CODE)

    def smbios(self) -> bytes | None:
        """Return the structure table that the firmware has published (DMTF DSP0134 §5.2), None without one.

        Firmware measures the table of the 64-bit entry point where there is one.
        """
        for anchor, size, length, address in ((b"_SM3_", 24, slice(12, 16), slice(16, 24)), _SM_32):
            at = -1
            while (at := self._data.find(anchor, at + 1)) >= 0:
                entry = self._data[at : at + size]
                if len(entry) == size and not sum(entry) & 0xFF:
                    where, many = (int.from_bytes(entry[part], "little") for part in (address, length))
                    if 0 < many <= _MAX_SMBIOS:
                        return self._qtest.read(where, many)
        return None


def _acpi(fw_cfg: FwCfg) -> AcpiFiles:
    found = [fw_cfg.file(name) for name in (LOADER_FILE, RSDP_FILE, TABLES_FILE)]
    if any(data is None for data in found):
        raise BuildFailed("this machine has no ACPI tables in fw_cfg", code=CODE)
    return AcpiFiles(*(data or b"" for data in found))


def _settings(fw_cfg: FwCfg) -> Mapping[str, bytes]:
    """Return the fw_cfg items that some layout measures, as far as they exist."""
    names = dict.fromkeys(name for layout in LAYOUTS.values() for name, _ in layout.settings)
    found = {name: fw_cfg.item(_BOOT_MENU_KEY, 2) if name == BOOT_MENU else fw_cfg.file(name) for name in names}
    return {name: data for name, data in found.items() if data is not None}


def _variant(emulation: Emulation, version: str) -> Mapping[str, str | int | bool]:
    variant: dict[str, str | int | bool] = {
        "vcpus": emulation.vcpus,
        "qemu": version,
        "cpu": emulation.cpu,
        "phys_bits": emulation.phys_bits,
    }
    if emulation.arguments:
        text = "\0".join(emulation.arguments)
        variant["qemu_arguments"] = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return variant


def _pair(stack: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair()
    return stack.enter_context(one), stack.enter_context(other)
