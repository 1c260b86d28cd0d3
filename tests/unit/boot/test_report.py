"""The result of a boot as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from podvm_builder.cli.boot import _error
from podvm_builder.model.boot import (
    Attempt,
    BootResult,
    Extend,
    FirstDifference,
    Outcome,
    Phase,
    RegisterProof,
    SelftestLine,
    Stage,
    UnitTime,
)
from podvm_builder.model.event import Event
from podvm_builder.model.measurement import Status
from podvm_builder.report.boot import boot_to_json, render_boot

UKI = Event(
    pcr=4,
    kind="EV_EFI_BOOT_SERVICES_APPLICATION",
    digests={"sha256": b"\xaa" * 32},
    subject="UKI",
    source="firmware",
)
EQUAL = RegisterProof(
    register="tpm.pcr11",
    alg="sha256",
    status=Status.PREDICTED,
    reason=None,
    predicted=b"\x11" * 32,
    observed=b"\x11" * 32,
    equal=True,
    explained=True,
)
DIFFERENT = replace(
    EQUAL,
    register="tpm.pcr04",
    observed=b"\x22" * 32,
    equal=False,
    first_difference=FirstDifference(
        index=2, expected=UKI, observed=b"\xbb" * 32, seconds=3.25, observed_is="event 0 of PCR 9, initrd"
    ),
)
UNPREDICTED = RegisterProof(
    register="tpm.pcr00",
    alg="sha256",
    status=Status.PLATFORM,
    reason="the firmware's",
    predicted=None,
    observed=b"\x33" * 32,
    equal=None,
    explained=False,
)
RESULT = BootResult(
    target="debian-13/snp/libvirt",
    image_sha256="ab" * 32,
    outcome=Outcome.UP,
    reason="the forwarder answered",
    seconds=17.5,
    machine={
        "boot": "disk",
        "disk": "virtio",
        "secure_boot": "absent",
        "vcpus": 2,
        "memory_mib": 2048,
        "accelerator": "tcg",
        "accelerator_reason": "/dev/kvm: No such file or directory",
    },
    versions={"qemu": "10.0.13", "ovmf": "2025.02-8", "swtpm": "0.7.1"},
    registers=(UNPREDICTED, EQUAL),
    extends=(Extend(seconds=0.5, command="TPM2_PCR_Extend", pcr=11, digests={"sha256": b"\x44" * 32}, subject="x"),),
    timeline=(
        Stage(seconds=0.5, source="tpm", what="the firmware starts to measure"),
        Stage(seconds=17.5, source="network", what="the forwarder answers"),
    ),
    phases=(Phase(name="firmware", start=0.0, end=3.25), Phase(name="kernel, initrd", start=3.25, end=17.5)),
    units=(
        UnitTime(name="quick.path", start=10.0, up=10.0),
        UnitTime(name="slow.service", start=11.0, up=12.5),
        UnitTime(name="starting.service", start=12.0, up=None),
    ),
    troubles=(),
    console_tail=("last line",),
    selftest=(SelftestLine(passed=True, component="kata-agent", what="up"),),
    attempts=(),
    notes=(),
)


def test_text_of_a_proof() -> None:
    assert render_boot(RESULT).splitlines() == [
        "target     debian-13/snp/libvirt",
        "machine    boot disk, virtio disk, secure boot absent, 2 vCPUs, 2048 MiB",
        "run by     tcg (/dev/kvm: No such file or directory)",
        "versions   qemu 10.0.13, ovmf 2025.02-8, swtpm 0.7.1",
        "outcome    up: the forwarder answered",
        "",
        "register    bank               predicted           observed",
        "tpm.pcr11   sha256  equal      1111111111111111…",
        "",
        "     0.5 s  the firmware starts to measure",
        "    17.5 s  the forwarder answers",
        "",
        "phase                from       took",
        "firmware            0.0 s      3.2 s",
        "kernel, initrd      3.2 s     14.2 s",
        "",
        "slowest units        from       took",
        "slow.service       11.0 s     1.50 s",
        "",
        "selftest   1 of 1 checks passed",
        "TPM        1 extends; they do not add up to tpm.pcr00 sha256",
        "proof      1 of 1 predicted values equal",
    ]


def test_text_of_a_difference() -> None:
    text = render_boot(replace(RESULT, registers=(DIFFERENT, EQUAL)))
    assert (
        "tpm.pcr04 sha256: first difference at event 2\n"
        "  expected  UKI (EV_EFI_BOOT_SERVICES_APPLICATION, by firmware) aaaaaaaaaaaaaaaa…\n"
        "  observed  bbbbbbbbbbbbbbbb… at 3.2 s, which is event 0 of PCR 9, initrd\n"
    ) in text
    assert "tpm.pcr04   sha256  DIFFERENT  1111111111111111…   2222222222222222…" in text
    assert text.endswith("proof      1 of 2 predicted values equal")


def test_text_of_a_failure_has_no_verdict_on_registers() -> None:
    attempt = Attempt(outcome=Outcome.EMULATOR, accelerator="kvm", reason="KVM internal error", seconds=1.0)
    text = render_boot(replace(RESULT, outcome=Outcome.TIMEOUT, registers=(DIFFERENT,), attempts=(attempt,)))
    assert "DIFFERENT" not in text
    assert "proof" not in text
    assert "attempt    emulator after 1.0 s with kvm, tried again: KVM internal error" in text


def test_json_is_json_and_whole() -> None:
    document = boot_to_json(replace(RESULT, registers=(UNPREDICTED, DIFFERENT)))
    assert json.loads(json.dumps(document)) == document
    assert document["schema"] == "podvm-boot/1"
    assert document["proved"] is False
    assert document["extends"] == 1
    assert document["phases"][1] == {"name": "kernel, initrd", "start": 3.25, "seconds": 14.25}
    assert document["units"][1:] == [
        {"name": "slow.service", "start": 11.0, "up": 12.5},
        {"name": "starting.service", "start": 12.0, "up": None},
    ]
    assert document["registers"][0]["predicted"] is None
    assert document["registers"][0]["equal"] is None
    assert document["registers"][1]["first_difference"] == {
        "index": 2,
        "expected": {
            "kind": "EV_EFI_BOOT_SERVICES_APPLICATION",
            "subject": "UKI",
            "source": "firmware",
            "digest": "aa" * 32,
        },
        "observed": "bb" * 32,
        "seconds": 3.25,
        "observed_is": "event 0 of PCR 9, initrd",
    }


def test_a_proof_is_no_error() -> None:
    assert _error(RESULT, Path("out")) is None


@pytest.mark.parametrize(
    ("result", "code", "words"),
    [
        (replace(RESULT, outcome=Outcome.TIMEOUT, reason="too slow"), "PVB510", "last seen: the forwarder answers"),
        (replace(RESULT, outcome=Outcome.PANIC, timeline=()), "PVB511", "last seen: nothing at all"),
        (replace(RESULT, outcome=Outcome.OOPS), "PVB511", "last line"),
        (replace(RESULT, outcome=Outcome.STOPPED), "PVB511", "last line"),
        (replace(RESULT, outcome=Outcome.EMULATOR), "PVB512", "last line"),
        (replace(RESULT, outcome=Outcome.REFUSED), "PVB513", "last line"),
        (replace(RESULT, outcome=Outcome.TPM), "PVB514", "last line"),
        (replace(RESULT, registers=(DIFFERENT,)), "PVB520", "not as predicted: `tpm.pcr04` (sha256)"),
        (
            replace(RESULT, selftest=(SelftestLine(passed=False, component="kata-agent", what="bad"),)),
            "PVB521",
            "kata-agent: bad",
        ),
    ],
)
def test_what_the_command_ends_with(result: BootResult, code: str, words: str) -> None:
    error = _error(result, Path("out"))
    assert error is not None
    assert error.code == code
    assert words in error.message
    assert "out/boot/serial.log" in (error.hint or "")


def test_what_a_guest_says_is_harmless_to_a_terminal() -> None:
    text = render_boot(replace(RESULT, reason="it says \x1b[2J"))
    assert "it says \ufffd[2J" in text
    assert "\x1b" not in text
