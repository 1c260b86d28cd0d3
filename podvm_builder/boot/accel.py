"""Whether KVM really works here. A device node proves nothing: it may lead to a KVM that cannot run firmware."""

from __future__ import annotations

import fcntl
import os
import platform
import selectors
import subprocess
import time
from dataclasses import dataclass, replace

from podvm_builder.boot.firmware import BootFirmware
from podvm_builder.boot.machine import Accelerator, Machine, probe_arguments
from podvm_builder.tools.process import stop
from podvm_builder.tools.tree import ToolsTree

_DEVICE = "/dev/kvm"
# linux/kvm.h: _IO(KVMIO, 0x00) and _IO(KVMIO, 0x01)
_KVM_GET_API_VERSION = 0xAE00
_KVM_CREATE_VM = 0xAE01
_API_VERSION = 12

_ALIVE = b"BdsDxe"
"""What OVMF prints once it has run all of its phases and looks for something to start."""
_BROKEN = (b"KVM internal error", b"failed to initialize kvm", b"Assertion `")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An accelerator, and why it is this one."""

    accelerator: Accelerator
    reason: str


def choose_accelerator(tree: ToolsTree, machine: Machine, *, firmware: BootFirmware, timeout: float = 15.0) -> Choice:
    """Try KVM: open it, make a machine, and run the firmware that the boot will run; otherwise emulate.

    Args:
        tree: the tools tree whose QEMU is used.
        machine: the machine that will be booted.
        firmware: the firmware that it will run.
        timeout: seconds within which firmware under a working KVM has long come up.
    """
    trouble = _device_trouble() or _guest_trouble(tree, machine, firmware, timeout)
    if trouble is None:
        return Choice(accelerator=Accelerator.KVM, reason="the firmware ran under KVM")
    return Choice(accelerator=Accelerator.TCG, reason=trouble)


def _device_trouble() -> str | None:
    if platform.machine() != "x86_64":
        return f"this machine is {platform.machine()}, the guest is x86_64"
    try:
        device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"{_DEVICE}: {error.strerror}"
    try:
        version = fcntl.ioctl(device, _KVM_GET_API_VERSION)
        if version != _API_VERSION:
            return f"KVM has API version {version}"
        os.close(fcntl.ioctl(device, _KVM_CREATE_VM, 0))
    except OSError as error:
        return f"KVM makes no machine: {error.strerror}"
    finally:
        os.close(device)
    return None


def _guest_trouble(tree: ToolsTree, machine: Machine, firmware: BootFirmware, timeout: float) -> str | None:
    """Run the firmware alone, on the machine's CPU model; None once it has come up."""
    arguments = probe_arguments(replace(machine, vcpus=1, memory_mib=256), firmware.path, flash=firmware.flash)
    process = tree.popen(arguments, binds=firmware.binds, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None  # noqa: S101 - we asked for a pipe
    output = bytearray()
    end = time.monotonic() + timeout
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while (left := end - time.monotonic()) > 0:
                if not selector.select(left):
                    break
                piece = os.read(process.stdout.fileno(), 1 << 16)
                output += piece
                if _ALIVE in output:
                    return None
                for sign in _BROKEN:
                    if sign in output:
                        return f"KVM does not run the firmware: {_line_with(bytes(output), sign)}"
                if not piece:
                    last = output.decode(errors="replace").strip().splitlines()[-1:]
                    return f"QEMU does not start with KVM: {''.join(last) or 'no reason given'}"
        return f"the firmware did not come up under KVM in {timeout:g} s"
    finally:
        stop(process)
        process.stdout.close()


def _line_with(output: bytes, sign: bytes) -> str:
    return next(line for line in output.splitlines() if sign in line).decode(errors="replace").strip()
