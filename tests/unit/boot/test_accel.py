"""Whether KVM works is tried: what the firmware says under it decides, and not that there is a device."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from podvm_builder.boot import accel
from podvm_builder.boot.firmware import BootFirmware
from podvm_builder.boot.machine import Accelerator, Machine
from podvm_builder.tools.tree import ToolsTree

FIRMWARE = BootFirmware(path="/firmware.fd", sha256="00", variables=Path("/vars.fd"))


class FakeTree:
    """A tools tree whose QEMU is a few lines of Python."""

    def __init__(self, program: str) -> None:
        self._program = program
        self.arguments: tuple[str, ...] = ()
        self.process: subprocess.Popen[bytes] | None = None

    def popen(self, arguments: tuple[str, ...], *, binds: object, **options: Any) -> subprocess.Popen[bytes]:
        self.arguments = arguments
        self.process = subprocess.Popen([sys.executable, "-uc", self._program], stdin=subprocess.DEVNULL, **options)
        return self.process


def choose(monkeypatch: pytest.MonkeyPatch, program: str, *, timeout: float = 60) -> tuple[accel.Choice, FakeTree]:
    monkeypatch.setattr(accel, "_device_trouble", lambda: None)
    tree = FakeTree(program)
    choice = accel.choose_accelerator(cast(ToolsTree, tree), Machine(vcpus=8), firmware=FIRMWARE, timeout=timeout)
    assert tree.process is not None
    assert tree.process.returncode is not None
    return choice, tree


def test_firmware_that_comes_up_under_kvm(monkeypatch: pytest.MonkeyPatch) -> None:
    choice, tree = choose(monkeypatch, "import time; print('BdsDxe: No bootable option'); time.sleep(86399)")
    assert choice.accelerator is Accelerator.KVM
    assert tree.arguments[tree.arguments.index("-accel") + 1] == "kvm"
    assert tree.arguments[tree.arguments.index("-smp") + 1] == "1"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (
            "import time; print('KVM internal error. Suberror: 1\\nemulation failure'); time.sleep(86399)",
            "KVM does not run the firmware: KVM internal error. Suberror: 1",
        ),
        (
            "raise SystemExit('qemu: System Management Mode not supported by this hypervisor.')",
            "QEMU does not start with KVM: qemu: System Management Mode not supported by this hypervisor.",
        ),
        ("", "QEMU does not start with KVM: no reason given"),
    ],
)
def test_a_kvm_that_does_not_run_firmware(monkeypatch: pytest.MonkeyPatch, program: str, words: str) -> None:
    choice, _ = choose(monkeypatch, program)
    assert (choice.accelerator, choice.reason) == (Accelerator.TCG, words)


def test_a_kvm_under_which_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    choice, _ = choose(monkeypatch, "import time; time.sleep(86399)", timeout=0.2)
    assert (choice.accelerator, choice.reason) == (Accelerator.TCG, "the firmware did not come up under KVM in 0.2 s")


def test_without_a_device_nothing_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(accel, "_DEVICE", str(tmp_path / "kvm"))
    tree = FakeTree("")
    choice = accel.choose_accelerator(cast(ToolsTree, tree), Machine(), firmware=FIRMWARE)
    assert choice.accelerator is Accelerator.TCG
    assert tree.process is None
    # and a file with the device's name is no KVM
    (tmp_path / "kvm").touch()
    choice = accel.choose_accelerator(cast(ToolsTree, tree), Machine(), firmware=FIRMWARE)
    assert choice.accelerator is Accelerator.TCG
    assert tree.process is None
