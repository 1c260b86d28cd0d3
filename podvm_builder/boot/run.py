"""One boot of one image, from start to proof: start the machine, wait for its forwarder, read the TPM, compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from podvm_builder.boot import prove
from podvm_builder.boot.accel import Choice, choose_accelerator
from podvm_builder.boot.attempt import Observation, attempt
from podvm_builder.boot.expect import Expectation, expect
from podvm_builder.boot.folder import BuildOutput
from podvm_builder.boot.machine import Accelerator, Machine
from podvm_builder.boot.prepare import Prepared, check, prepare
from podvm_builder.boot.timeline import selftest_lines, timeline
from podvm_builder.boot.times import guest_times, phases
from podvm_builder.boot.units import check_image_units
from podvm_builder.errors import Finding
from podvm_builder.guest.components import SELFTEST
from podvm_builder.model.boot import Attempt, BootResult, Outcome
from podvm_builder.tools.cache import work_folder
from podvm_builder.tools.process import Say
from podvm_builder.tools.tree import ToolsTree, require


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
        Finding: PVB503, nothing is predicted for this machine, so that a boot would prove nothing; PVB540,
            the image's units cannot start its agents.
    """
    check(machine, firmware)
    unchecked = check_image_units(output.image)
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
        last_phase = output.manifest.phases[-1] if output.manifest.phases else None
        reports = SELFTEST in output.manifest.flags
        attempts: list[Attempt] = []
        while True:
            machine = replace(machine, accelerator=choice.accelerator)
            with work_folder(cache) as scratch:
                seen = attempt(
                    ready,
                    scratch,
                    tree=tree,
                    machine=machine,
                    timeout=timeout,
                    last_phase=last_phase,
                    reports=reports,
                    say=say,
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
    times = guest_times(seen.said, extends)
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
        phases=phases(extends, times, seen.milestones, seen.up),
        units=times.units,
        selftest=selftest_lines(seen.said),
        troubles=tuple(sign.line.text for sign in seen.signs),
        console_tail=seen.tail,
        attempts=tuple(attempts),
        notes=(*unchecked, *ready.notes, *_silent(seen, reports), *_computed(expected)),
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


def _silent(seen: Observation, reports: bool) -> tuple[str, ...]:
    if reports and seen.outcome is Outcome.UP and not seen.said:
        return ("the selftest components gave no report",)
    return ()


def _computed(expected: Expectation) -> tuple[str, ...]:
    if not expected.computed:
        return ()
    names = ", ".join(expected.computed)
    return (f"measurements.json has no value for this machine in {names}: computed from the image for this boot",)


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
