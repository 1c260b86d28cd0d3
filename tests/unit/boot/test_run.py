"""A whole boot with stand-ins for QEMU and swtpm: every outcome, and that nothing is left behind."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from podvm_builder.boot import attempt, firmware, run
from podvm_builder.boot.accel import Choice
from podvm_builder.boot.folder import BuildOutput
from podvm_builder.boot.machine import Accelerator, Machine
from podvm_builder.errors import Finding
from podvm_builder.model.boot import BootResult, Outcome
from podvm_builder.model.event import Event
from podvm_builder.model.manifest import ImageManifest
from podvm_builder.model.measurement import Identification, Measurement, MeasurementSet, Status
from podvm_builder.tools.tree import ToolsTree

from . import fake_machine

SCRIPT = Path(fake_machine.__file__)
BANKS = ("sha1", "sha256", "sha384")


@dataclass
class FakeTree:
    """Runs the stand-ins instead of the tree's programs."""

    root: Path
    scenario: str
    versions: Mapping[str, str] = field(
        default_factory=lambda: {"qemu-system-x86": "1:10", "ovmf": "2025", "swtpm": "0.7"}
    )
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def popen(self, args: Sequence[str], *, binds: object, **options: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-S", str(SCRIPT), self.scenario, *args]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
        self.processes.append(process)
        return process


def log(*words: str) -> tuple[Event, ...]:
    return tuple(
        Event(
            pcr=pcr,
            kind="EV_IPL",
            digests={alg: fake_machine.digest(alg, text) for alg in BANKS},
            subject=f"phase {text}" if text in words else text,
            source="firmware",
        )
        for pcr, text in (*fake_machine.EVENTS, *((11, word) for word in words))
    )


def output(folder: Path, *, phases: tuple[str, ...] = (), **variant: str) -> BuildOutput:
    from podvm_builder.measure.tpm import fold

    (folder / "image.raw").write_bytes(b"a disk")
    rows = tuple(
        Measurement(
            register=f"tpm.pcr{pcr:02d}",
            alg=alg,
            status=Status.PREDICTED,
            value=fold(log(*phases[: number + 1]), pcr, alg),
            variant={"boot": "disk", **variant} | ({"phase": word} if word and pcr == 11 else {}),
            origin=("log", "disk"),
        )
        for pcr in (4, 11)
        for alg in BANKS
        for number, word in enumerate(phases if phases and pcr == 11 else ("",))
    )
    return BuildOutput(
        image=folder / "image.raw",
        manifest=cast(ImageManifest, type("Manifest", (), {"files": {}, "phases": phases, "flags": ("selftest",)})),
        measurements=MeasurementSet(
            target="debian-13/none/libvirt",
            ids={},
            identifies_image=Identification(value=True, by=(), reason="test"),
            logs={"disk": log(*phases)},
            regions={},
            measurements=rows,
        ),
    )


@pytest.fixture
def boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[BootResult, str, list[str]]]:
    """Boot a scenario; afterwards check that no process, socket or file is left."""
    monkeypatch.setattr(attempt, "_QUIET", 0.2)
    monkeypatch.setattr(attempt, "_LAST_WORDS", 0.3)

    def start(
        scenario: str, *, timeout: float = 60, phases: tuple[str, ...] = (), **variant: str
    ) -> tuple[BootResult, str, list[str]]:
        if scenario == "stops-later":
            monkeypatch.setattr(attempt, "_QUIET", 60)  # the stop is waited for, however long a busy machine takes
        root, cache = tmp_path / "tree", tmp_path / "cache"
        for path in (firmware.PLAIN, firmware.VARIABLES):
            (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (root / path[1:]).write_bytes(b"firmware")
        cache.mkdir(exist_ok=True)
        tree = FakeTree(root=root, scenario=scenario)
        said: list[str] = []
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        threads = threading.active_count()
        try:
            result, serial = run.boot(
                output(tmp_path, phases=phases, **variant),
                tree=cast(ToolsTree, tree),
                cache=cache,
                machine=Machine(),
                timeout=timeout,
                say=said.append,
                accelerate=lambda *_args, **_options: Choice(accelerator=Accelerator.TCG, reason="test"),
            )
        finally:
            assert all(process.returncode is not None for process in tree.processes)
            assert threading.active_count() == threads
            assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
            assert [path for path in cache.rglob("*") if path.is_file()] == []
        return result, serial, said

    return start


def test_an_image_that_comes_up_as_predicted(boot: Callable[..., Any]) -> None:
    result, serial, said = boot("up")
    assert (result.outcome, result.proved) == (Outcome.UP, True)
    compared = [(r.register, r.alg, r.equal) for r in result.registers if r.equal is not None]
    assert compared == [(f"tpm.pcr{pcr}", alg, True) for pcr in ("04", "11") for alg in BANKS]
    assert all(register.explained for register in result.registers)
    assert [extend.subject for extend in result.extends] == ["crtm", "UKI", "section .linux"]
    assert [line.what for line in result.selftest] == ["up"]
    assert [phase.name for phase in result.phases] == ["firmware", "loader, kernel, initrd, userspace"]
    assert result.units == ()
    assert result.notes == (
        "the units of the image were not checked: disk image: no GUID partition table (at byte 0x200)",
    )
    assert result.versions == {"qemu": "0.1.2 fake", "ovmf": "2025", "swtpm": "0.7"}
    assert "Linux version 6.12" in serial
    assert said[0] == "tcg: test"


def test_the_registers_are_read_when_the_last_phase_has_come(boot: Callable[..., Any]) -> None:
    result, _, _ = boot("phases", phases=("sysinit", "ready"))
    compared = [(r.register, r.phase, r.alg, r.equal) for r in result.registers if r.equal is not None]
    assert compared[3:] == [("tpm.pcr11", word, alg, True) for alg in BANKS for word in ("sysinit", "ready")]
    assert result.proved


def test_a_phase_that_does_not_come_is_waited_for_and_then_missed(
    boot: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "_SETTLE", 1.0)
    result, _, _ = boot("up", phases=("sysinit", "ready"))
    assert result.outcome is Outcome.UP
    assert not result.proved
    assert {r.equal for r in result.registers if r.phase} == {False}


def test_another_section_is_the_first_difference(boot: Callable[..., Any]) -> None:
    result, _, _ = boot("other")
    assert (result.outcome, result.proved) == (Outcome.UP, False)
    different = [register for register in result.registers if register.equal is False]
    assert [(register.register, register.alg) for register in different] == [("tpm.pcr11", alg) for alg in BANKS]
    for register in different:
        assert register.first_difference is not None
        assert register.first_difference.expected == log()[2]


@pytest.mark.parametrize(
    ("scenario", "outcome", "reason"),
    [
        ("panic", Outcome.PANIC, "Unable to mount root fs"),
        ("stops", Outcome.STOPPED, "stopped by itself"),
        ("stops-later", Outcome.STOPPED, "stopped"),
        ("oops", Outcome.OOPS, "invalid opcode"),
        ("refused", Outcome.REFUSED, "Access Denied"),
    ],
)
def test_a_guest_that_fails(boot: Callable[..., Any], scenario: str, outcome: Outcome, reason: str) -> None:
    result, _, _ = boot(scenario)
    assert (result.outcome, result.proved) == (outcome, False)
    assert reason in result.reason
    assert result.attempts == ()


def test_a_guest_that_does_not_answer_in_time(boot: Callable[..., Any]) -> None:
    result, _, _ = boot("silent", timeout=2)
    assert (result.outcome, result.seconds, result.proved) == (Outcome.TIMEOUT, None, False)
    assert result.timeline[-1].what == "kernel"
    assert result.console_tail[-1].endswith("Linux version 6.12")
    # what the TPM held by then is there, for whoever looks for the reason
    assert any(register.equal for register in result.registers)


def test_a_selftest_that_fails(boot: Callable[..., Any]) -> None:
    result, _, _ = boot("failed-check")
    assert (result.outcome, result.proved) == (Outcome.UP, False)


def test_an_emulator_that_crashes_once_is_tried_again(boot: Callable[..., Any], tmp_path: Path) -> None:
    result, _, said = boot(f"crash-once:{tmp_path / 'marker'}")
    assert result.proved
    [attempt] = result.attempts
    assert attempt.outcome is Outcome.EMULATOR
    assert "status 134: qemu: assertion failed" in attempt.reason
    assert any(line.startswith("known emulator fault, trying once more") for line in said)


def test_a_fault_in_an_emulated_kernel_is_tried_again_once(boot: Callable[..., Any]) -> None:
    result, _, _ = boot("fault")
    assert result.outcome is Outcome.PANIC
    assert [attempt.outcome for attempt in result.attempts] == [Outcome.PANIC]


def test_a_machine_for_which_nothing_is_predicted_is_not_booted(boot: Callable[..., Any]) -> None:
    with pytest.raises(Finding) as raised:
        boot("up", secure_boot="on")
    assert raised.value.code == "PVB503"


def test_ctrl_c_leaves_nothing(boot: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(attempt, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        boot("silent")
