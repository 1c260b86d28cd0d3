"""One boot of one image, from start to proof: start the machine, wait for its forwarder, read the TPM, compare."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from podvm_builder.boot import prove
from podvm_builder.boot.accel import Choice, choose_accelerator
from podvm_builder.boot.console import Sign
from podvm_builder.boot.expect import Expectation, expect
from podvm_builder.boot.folder import BuildOutput
from podvm_builder.boot.machine import BANKS, Accelerator, Machine
from podvm_builder.boot.prepare import Prepared, check, prepare
from podvm_builder.boot.timeline import selftest_lines, timeline
from podvm_builder.boot.userdata import cidata
from podvm_builder.boot.vm import Vm
from podvm_builder.errors import Finding
from podvm_builder.model.boot import Attempt, BootResult, Extend, Outcome
from podvm_builder.tools.cache import work_folder
from podvm_builder.tools.process import Say
from podvm_builder.tools.tree import ToolsTree, require

_PHASES = 11
"""The PCR that boot phases are extended into."""
_TICK = 0.2
_QUIET = 3.0
"""Seconds without an extend after which the registers count as settled."""
_SETTLE = 30.0
"""Seconds after which they are read even so."""
_LAST_WORDS = 2.0
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


def boot(
    output: BuildOutput,
    *,
    tree: ToolsTree,
    cache: Path,
    machine: Machine,
    timeout: float,
    say: Say,
    firmware: str | None = None,
    mirror: str | None = None,
    accelerate: Callable[..., Choice] = choose_accelerator,
) -> tuple[BootResult, str]:
    """Boot an image and compare what its TPM holds with the predictions.

    Nothing is left behind: no process, socket or file. The disk is not written to.

    Args:
        output: the build's; its predictions for this machine are compared, see :mod:`podvm_builder.boot.expect`.
        tree: the tools tree that QEMU, OVMF and swtpm come from.
        cache: the cache's folder, in which the machine's scratch folders are.
        machine: what to boot it on; the accelerator is chosen here.
        timeout: seconds from the start of QEMU to the forwarder's answer, for each attempt anew.
        say: takes a line per step.
        firmware: another firmware than the tools tree's, by its name in the catalogue or by path.
        mirror: URI of the Debian archive that a firmware may have to be fetched from.
        accelerate: chooses the accelerator.

    Returns:
        The result, whatever the outcome, and the serial console's log.

    Raises:
        InputError: PVB501, a machine that cannot be booted; what :func:`podvm_builder.boot.prepare.prepare` raises.
        Lacking: the tools tree lacks a program, or this machine does not allow its mounts.
        Finding: PVB503, nothing is predicted for this machine, so that a boot would prove nothing.
    """
    check(machine, firmware)
    versions = {name: require(tree, package) for name, package in _PACKAGES.items()}
    with work_folder(cache) as folder:
        ready = prepare(
            output, machine, tree=tree, cache=cache, folder=folder, firmware=firmware, mirror=mirror, say=say
        )
        expected = expect(output, machine, ready.firmware, image=ready.image, genuine=ready.genuine, keys=ready.keys)
        if not expected.any:
            raise Finding(
                "nothing is predicted for a boot of this image on this machine, so a boot would prove nothing",
                code="PVB503",
                hint="podvm-build measure image DIR",
            )
        choice = accelerate(tree, machine, firmware=ready.firmware)
        say(f"{choice.accelerator}: {choice.reason}")
        phases = output.manifest.phases
        last_phase = phases[-1] if phases else None
        attempts: list[Attempt] = []
        while True:
            machine = replace(machine, accelerator=choice.accelerator)
            with work_folder(cache) as scratch:
                seen = _attempt(
                    ready, scratch, tree=tree, machine=machine, timeout=timeout, last_phase=last_phase, say=say
                )
            crash = _emulator_fault(seen, machine)
            if crash is None or attempts:
                break
            attempts.append(
                Attempt(outcome=seen.outcome, accelerator=machine.accelerator, reason=crash, seconds=seen.seconds)
            )
            say(f"known emulator fault, trying once more: {crash}")
            choice = Choice(accelerator=Accelerator.TCG, reason=f"the first attempt failed: {crash}")
    extends = prove.label(seen.extends, expected.log)
    result = BootResult(
        target=output.measurements.target,
        image_sha256=ready.image_sha256,
        outcome=seen.outcome,
        reason=seen.reason,
        seconds=seen.up,
        machine=_facts(machine, choice, ready, firmware),
        versions=versions | ({"qemu": seen.qemu} if seen.qemu else {}),
        registers=prove.prove(expected.rows, expected.logs, extends, seen.pcrs, last_phase=last_phase),
        extends=extends,
        timeline=timeline(extends, seen.milestones, seen.up),
        selftest=selftest_lines(seen.said),
        troubles=tuple(sign.line.text for sign in seen.signs),
        console_tail=seen.tail,
        attempts=tuple(attempts),
        notes=(*ready.notes, *_computed(expected)),
    )
    return result, seen.serial_log


_PACKAGES = {"qemu": "qemu-system-x86", "ovmf": "ovmf", "swtpm": "swtpm"}


def _facts(machine: Machine, choice: Choice, ready: Prepared, firmware: str | None) -> dict[str, str | int]:
    """Say what was booted, so that the boot can be made again."""
    facts: dict[str, str | int] = {
        "boot": machine.boot,
        "vcpus": machine.vcpus,
        "memory_mib": machine.memory_mib,
        "cpu": machine.cpu,
        "accelerator": machine.accelerator.value,
        "accelerator_reason": choice.reason,
        "secure_boot": machine.secure_boot,
        "firmware": f"sha256:{ready.firmware.sha256}",
        "disk": machine.disk.value,
        "tpm": "tpm-crb",
    }
    if firmware is not None:
        facts["firmware_name"] = firmware
    if machine.smbios:
        facts["smbios"] = "; ".join(machine.smbios)
    if machine.fw_cfg:
        facts["fw_cfg"] = "; ".join(f"{name}={text}" for name, text in machine.fw_cfg)
    return facts


def _computed(expected: Expectation) -> tuple[str, ...]:
    if not expected.computed:
        return ()
    names = ", ".join(expected.computed)
    return (f"measurements.json has no value for this machine in {names}: computed from the image for this boot",)


def _attempt(
    ready: Prepared,
    scratch: Path,
    *,
    tree: ToolsTree,
    machine: Machine,
    timeout: float,
    last_phase: str | None,
    say: Say,
) -> Observation:
    """Boot once, in an empty scratch folder."""
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
            said = vm.probe.listen(_LAST_WORDS)
            say(f"[{clock():6.1f} s] the forwarder answers; waiting for the registers to settle")
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
    while (now := clock()) - started < _SETTLE:
        extends = vm.tap.extends
        quiet = now - max(started, extends[-1].seconds if extends else 0.0) >= _QUIET
        if quiet and (last_phase is None or _reached(vm, last_phase)):
            break
        vm.step(_TICK)
        if vm.console.fatal is not None:
            return Outcome.PANIC, f"the guest gave up after it was up: {vm.console.fatal.line.text}"
        if vm.qemu_status is not None:
            return Outcome.STOPPED, "the machine stopped after it was up"
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


def _emulator_fault(seen: Observation, machine: Machine) -> str | None:
    """Say why an attempt may have failed by a known fault of the emulator; None if it did not.

    Known are crashes of QEMU itself, a KVM that stops the machine, and (seen in one of thirteen boots) a fault
    inside the kernel under emulation before it was up. A kernel that found no root or no init is none of them.
    """
    if seen.outcome is Outcome.EMULATOR:
        return seen.reason
    if seen.outcome is Outcome.PANIC and seen.kernel_fault and machine.accelerator is Accelerator.TCG:
        return seen.reason
    return None


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else "it gave no reason"


def _last_line(text: str) -> str:
    return text.splitlines()[-1] if text else "it gave no reason"
