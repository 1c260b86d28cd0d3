"""What one boot showed: how far it came, what the TPM was extended with, and how that compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from podvm_builder.model.event import Event
from podvm_builder.model.measurement import Status


class Outcome(StrEnum):
    """How a boot ended."""

    UP = "up"
    """The forwarder answered, the registers were read, and the kernel did not stumble on the way."""
    TIMEOUT = "timeout"
    """The forwarder did not answer in time."""
    STOPPED = "stopped"
    """The machine stopped by itself."""
    PANIC = "panic"
    """The kernel, or its init, gave up."""
    OOPS = "oops"
    """The kernel hit a fault of its own, whether or not the guest came up after it."""
    REFUSED = "refused"
    """The firmware refused to start what it was given."""
    TPM = "tpm"
    """The TPM emulator or the relay before it failed."""
    EMULATOR = "emulator"
    """The emulator crashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extend:
    """One change of a PCR, as it passed between the machine and its TPM."""

    seconds: float
    """Since QEMU was started."""
    command: str
    """The TPM command, e.g. ``TPM2_PCR_Extend``."""
    pcr: int
    digests: Mapping[str, bytes]
    subject: str | None = None
    """What it is in the predicted log, if it stands there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One dated step of a boot."""

    seconds: float
    """Since QEMU was started."""
    source: str
    """Who shows it: ``tpm``, ``console`` or ``network``."""
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of a boot; the next one begins where it ends."""

    name: str
    """``firmware``, ``loader``, ``kernel``, ``initrd``, ``userspace``, or several of them where no border is known."""
    start: float
    """Since QEMU was started."""
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTime:
    """When a unit started, as the guest says."""

    name: str
    start: float
    """Since QEMU was started."""
    up: float | None
    """None where it was still starting when the guest was asked."""

    @property
    def seconds(self) -> float:
        """How long it took to start; 0 while it is not up."""
        return 0.0 if self.up is None else self.up - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstDifference:
    """The first event of a register that is not the predicted one."""

    index: int
    """Position among the register's events, from 0."""
    expected: Event | None
    """None where the prediction ends and the boot goes on."""
    observed: bytes | None
    """Its digest; None where the boot ends and the prediction goes on."""
    seconds: float | None
    """When the observed event came."""
    observed_is: str | None
    """The predicted event with this digest, if there is one at another place or in another register."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterProof:
    """One register of one bank."""

    register: str
    alg: str
    status: Status | None
    """Status of the prediction; None where nothing was said of this register."""
    reason: str | None
    predicted: bytes | None
    observed: bytes | None
    """None where the TPM has no such bank, or was not read."""
    equal: bool | None
    """None where nothing was predicted."""
    explained: bool
    """The extends that were seen fold to the value that was read."""
    phase: str | None = None
    """The boot phase at which the register has this value; None where there is only one value."""
    computed: bool = False
    """The prediction was computed for this machine; False: it is that of measurements.json."""
    first_difference: FirstDifference | None = None
    """Only where the values differ and the prediction came with its events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelftestLine:
    """One check that a selftest component made in the guest."""

    passed: bool
    component: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A boot that was given up for a known fault of the emulator, and tried again."""

    outcome: Outcome
    accelerator: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BootResult:
    """All that one `boot` found."""

    target: str
    image_sha256: str
    """Hex, of the disk that was booted."""
    outcome: Outcome
    reason: str
    """In words; for a failure also how far the boot came."""
    seconds: float | None
    """From the start of QEMU until the forwarder answered; None if it did not."""
    machine: Mapping[str, str | int]
    """vCPUs, memory in MiB, CPU model, accelerator and why, firmware state and digest."""
    versions: Mapping[str, str]
    """``qemu``, ``ovmf``, ``swtpm``."""
    registers: tuple[RegisterProof, ...]
    extends: tuple[Extend, ...]
    timeline: tuple[Stage, ...]
    phases: tuple[Phase, ...]
    """From the start of QEMU until the forwarder answered; empty if it did not."""
    units: tuple[UnitTime, ...]
    """Of a guest that offers them, in the order of their start: only the selftest components do."""
    troubles: tuple[str, ...]
    """Lines of the console that tell of trouble, fatal or not."""
    console_tail: tuple[str, ...]
    selftest: tuple[SelftestLine, ...]
    """What the selftest components report on the forwarder's port; empty with real components."""
    attempts: tuple[Attempt, ...]
    """Earlier attempts, if any."""
    notes: tuple[str, ...]
    """What else the reader must know."""

    @property
    def proved(self) -> bool:
        """The image came up, no selftest failed, and every predicted register that was compared is equal."""
        compared = [register.equal for register in self.registers if register.equal is not None]
        passed = all(line.passed for line in self.selftest)
        return self.outcome is Outcome.UP and passed and bool(compared) and all(compared)
