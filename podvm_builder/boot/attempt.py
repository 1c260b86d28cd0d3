"""One attempt at a boot: start the machine, wait for its forwarder, let the registers settle, read them."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from podvm_builder.boot.console import Sign
from podvm_builder.boot.machine import BANKS, Machine
from podvm_builder.boot.prepare import Prepared
from podvm_builder.boot.userdata import cidata
from podvm_builder.boot.vm import Vm
from podvm_builder.errors import Finding
from podvm_builder.model.boot import Extend, Outcome
from podvm_builder.tools.process import Say
from podvm_builder.tools.tree import ToolsTree

_PHASES = 11
"""The PCR that boot phases are extended into."""
_TICK = 0.2
_QUIET = 3.0
"""Seconds without an extend after which the registers count as settled."""
_SETTLE = 30.0
"""Seconds after which they are read even so."""
_LAST_WORDS = 2.0
_REPORT = 15.0
"""Seconds that a guest that has a report may take to begin, and pause within it: the connection that the guest accepted
may have been one before the last, and the guest asks systemd for times, which emulation makes slow."""
_TAIL = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one attempt showed, before anything is compared."""

    outcome: Outcome
    reason: str
    up: float | None
    seconds: float
    extends: tuple[Extend, ...]
    pcrs: Mapping[str, Mapping[int, bytes]]
    milestones: Mapping[str, float]
    signs: tuple[Sign, ...]
    kernel_fault: bool
    tail: tuple[str, ...]
    serial_log: str
    said: str
    """What the guest said on the forwarder's port."""
    qemu: str | None


def attempt(
    ready: Prepared,
    scratch: Path,
    *,
    tree: ToolsTree,
    machine: Machine,
    timeout: float,
    last_phase: str | None,
    reports: bool,
    say: Say,
) -> Observation:
    """Boot once, in an empty scratch folder; ``reports``: what answers on the forwarder's port has a report to give."""
    if ready.firmware.variables is not None:
        shutil.copyfile(ready.firmware.variables, scratch / "vars.fd")
    if ready.hashes is not None:
        (scratch / "hashes.bin").write_bytes(ready.hashes)
    (scratch / "cidata.iso").write_bytes(cidata())
    started = time.monotonic()

    def clock() -> float:
        return time.monotonic() - started

    vm = Vm(
        tree=tree,
        machine=machine,
        image=ready.image,
        firmware=ready.firmware,
        kernel=ready.kernel,
        scratch=scratch,
        clock=clock,
    )
    with vm:
        vm.start()
        outcome, reason = _wait(vm, machine=machine, clock=clock, timeout=timeout, say=say)
        up = clock() if outcome is Outcome.UP else None
        said = ""
        if outcome is Outcome.UP:
            say(f"[{clock():6.1f} s] the forwarder answers; waiting for the registers to settle")
            said = vm.probe.listen(_REPORT if reports else _LAST_WORDS, more=_REPORT)
            outcome, reason = _settle(vm, clock=clock, last_phase=last_phase)
        pcrs = _read(vm)
    if outcome is Outcome.UP and vm.console.oops is not None:
        outcome, reason = Outcome.OOPS, f"the kernel faulted: {vm.console.oops.line.text}"
    return Observation(
        outcome=outcome,
        reason=reason,
        up=up,
        seconds=clock(),
        extends=_extends(vm),
        pcrs=pcrs,
        milestones=dict(vm.console.milestones),
        signs=tuple(vm.console.signs),
        kernel_fault=vm.console.kernel_fault,
        tail=vm.console.tail(_TAIL),
        serial_log=vm.console.log(),
        said=said,
        qemu=vm.monitor.version,
    )


def _wait(vm: Vm, *, machine: Machine, clock: Callable[[], float], timeout: float, say: Say) -> tuple[Outcome, str]:
    """Wait until the forwarder answers or something says that it will not."""
    said: set[str] = set()
    while True:
        vm.step(_TICK)
        now = clock()
        for name, seconds in vm.console.milestones.items():
            if name not in said:
                said.add(name)
                say(f"[{seconds:6.1f} s] {name}")
        if vm.probe.step(now):
            return Outcome.UP, "the forwarder answered"
        failed = _failed(vm, machine, clock)
        if failed is not None:
            return failed
        if now >= timeout:
            return Outcome.TIMEOUT, f"the forwarder did not answer within {timeout:g} s"


def _failed(vm: Vm, machine: Machine, clock: Callable[[], float]) -> tuple[Outcome, str] | None:
    """Say whether waiting is of no use any more, and why."""
    fatal = vm.console.fatal
    if fatal is not None:
        _listen(vm, clock)
        return Outcome.PANIC, f"the guest gave up: {fatal.line.text}"
    if vm.console.refused is not None:
        _listen(vm, clock)
        return Outcome.REFUSED, f"the firmware refused the image: {vm.console.refused.line.text}"
    status = vm.qemu_status
    if status is not None:
        _listen(vm, clock)
        if status == 0:
            return Outcome.STOPPED, "the machine stopped by itself"
        return Outcome.EMULATOR, f"QEMU ended with status {status}: {_last_line(vm.qemu_log())}"
    if "STOP" in vm.monitor.events:
        return Outcome.EMULATOR, f"QEMU stopped the machine: {_first_line(vm.qemu_log())}"
    if vm.tap.failure is not None:
        return Outcome.TPM, f"the TPM emulator failed: {vm.tap.failure}"
    return None


def _settle(vm: Vm, *, clock: Callable[[], float], last_phase: str | None) -> tuple[Outcome, str]:
    """Wait until the last boot phase has come, where the image has phases, and nothing is extended for a while."""
    started = clock()
    while True:
        vm.step(_TICK)
        if vm.console.fatal is not None:
            return Outcome.PANIC, f"the guest gave up after it was up: {vm.console.fatal.line.text}"
        if vm.qemu_status is not None:
            return Outcome.STOPPED, "the machine stopped after it was up"
        now = clock()
        extends = vm.tap.extends
        quiet = now - max(started, extends[-1].seconds if extends else 0.0) >= _QUIET
        settled = quiet and (last_phase is None or _reached(vm, last_phase))
        if settled or now - started >= _SETTLE:
            return Outcome.UP, "the forwarder answered"


def _reached(vm: Vm, phase: str) -> bool:
    """Say whether a boot phase's word was extended."""
    digest = hashlib.sha256(phase.encode()).digest()
    return any(seen.change.pcr == _PHASES and seen.change.digests.get("sha256") == digest for seen in vm.tap.extends)


def _read(vm: Vm) -> Mapping[str, Mapping[int, bytes]]:
    """Read the registers at a moment between two extends; empty where the TPM is gone."""
    for _ in range(10):
        before = len(vm.tap.extends)
        try:
            pcrs = vm.tap.pcrs(BANKS)
        except Finding:
            return {}
        if pcrs is None:
            return {}
        if len(vm.tap.extends) == before:
            return pcrs
    return {}


def _extends(vm: Vm) -> tuple[Extend, ...]:
    return tuple(
        Extend(
            seconds=seen.seconds, command=seen.change.command.value, pcr=seen.change.pcr, digests=seen.change.digests
        )
        for seen in vm.tap.extends
    )


def _listen(vm: Vm, clock: Callable[[], float]) -> None:
    """Take what the console still says of a failure."""
    end = clock() + _LAST_WORDS
    while clock() < end:
        vm.step(_TICK)


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else "it gave no reason"


def _last_line(text: str) -> str:
    return text.splitlines()[-1] if text else "it gave no reason"
