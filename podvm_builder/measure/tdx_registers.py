"""RTMR 0 to 3 of a trust domain: the fold of its boot's log, or the reason why there is no value."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from podvm_builder.catalog.ovmf import Layout
from podvm_builder.errors import InputError
from podvm_builder.formats.td_hob import memory_map
from podvm_builder.measure.boot_log import DIRECT
from podvm_builder.measure.platform import LEARNT, check_profile, on_platform, platform_gaps, profile_basis
from podvm_builder.measure.rtmr import ALGORITHM, fold, register_of, runtime_log
from podvm_builder.measure.tdx_boot import TdxBoot
from podvm_builder.measure.tdx_firmware import TdxFirmware
from podvm_builder.measure.tdx_machine import TdxMachine, machine_log, unknown_machine
from podvm_builder.measure.tpm_boot import Finding
from podvm_builder.model.event import Event
from podvm_builder.model.measurement import Basis, Identification, Measurement, Status
from podvm_builder.model.platform import PlatformProfile

RTMRS = tuple(f"tdx.rtmr{index}" for index in range(4))
IDENTIFYING = RTMRS[1:3]

CLOUD_FIRMWARE: Finding = (
    Status.PLATFORM,
    "covers firmware that the cloud provides, its settings and its machine, and not the image",
)
_OWN_ENTRIES = "the firmware's variables hold boot entries of their own, and what becomes of them is not settled here"
_IDENTIFIES = "RTMR 1 covers what the firmware starts, RTMR 2 what that hands on; MRTD vouches for the firmware"
_VOLUME = "EV_EFI_PLATFORM_FIRMWARE_BLOB2"

Rows = tuple[Measurement, ...]
Logs = dict[str, tuple[Event, ...]]


def measure_rtmrs(
    boot: TdxBoot,
    *,
    firmware: TdxFirmware | None,
    layout: Layout | None,
    layout_reason: str,
    machines: Sequence[TdxMachine] = (),
    no_firmware: Finding = CLOUD_FIRMWARE,
    profile: PlatformProfile | None = None,
) -> tuple[Rows, Logs]:
    """Return RTMR 0 to 2 of a boot, RTMR 0 for every machine, and the logs that they are the folds of.

    Args:
        boot: what is booted, and how.
        firmware: None where it is not at hand.
        layout: the firmware's; None where it is not known.
        layout_reason: why there is no layout.
        machines: the machines to predict RTMR 0 for.
        no_firmware: what is said of RTMR 0 without firmware.
        profile: learnt from the log of a trust domain; it takes the place of machines and layout.

    Raises:
        InputError: PVB214, a memory size that a machine cannot have; PVB262, the profile is that of another firmware,
            boot path or state of secure boot.
        FormatError: a TD HOB that does not fit the firmware (PVB225), a damaged SMBIOS table (PVB212).
    """
    if profile is not None:
        return _measure_learnt(boot, firmware, profile)
    runtime = runtime_log(boot.log, layout)
    name = f"tdx-{boot.boot}"
    logs: Logs = {}
    rows: list[Measurement] = []
    for machine in machines or (None,):
        if firmware is None:
            rows.append(_unknown(0, no_firmware, _variant(boot, layout)))
            break
        if machine is not None:
            # also where nothing else is known of the machine: such a size is an error, not a gap
            memory_map(firmware.sections, machine.memory)
        row, log = _settings_register(boot, runtime, firmware, (layout, layout_reason), machine)
        rows.append(row)
        if row.origin is not None:
            logs[row.origin[1]] = log
    silent = None if firmware is None else firmware.silent
    for register in (1, 2):
        finding = boot.unknown.get(register)
        if silent is not None:
            finding = (Status.UNPREDICTABLE, silent)
        elif finding is None and register == 1 and layout is None:
            finding = (Status.UNPREDICTABLE, layout_reason)
        variant = _variant(boot, layout) if register == 1 else {"boot": boot.boot}
        if finding is not None:
            rows.append(_unknown(register, finding, variant))
            continue
        logs[name] = tuple(event for event in runtime if register_of(event.pcr) in (1, 2))
        rows.append(
            Measurement(
                register=RTMRS[register],
                alg=ALGORITHM,
                status=Status.PREDICTED,
                value=fold(runtime, register),
                reason=_said(boot.remarks.get(register), layout if register == 1 else None),
                variant=variant,
                basis=boot.basis.get(register, ()),
                origin=("log", name),
            )
        )
    return tuple(rows), logs


def _measure_learnt(boot: TdxBoot, firmware: TdxFirmware | None, profile: PlatformProfile) -> tuple[Rows, Logs]:
    """Return RTMR 0 to 2 as a profile's firmware fills them."""
    check_profile(
        profile,
        kind="ccel",
        boot=boot.boot,
        secure_boot=boot.secure_boot,
        firmware=None if firmware is None else firmware.name,
    )
    if firmware is not None:
        _check_volume(firmware, profile)
    runtime = on_platform(profile, boot.log, (ALGORITHM,))
    gaps = platform_gaps(profile, boot.gpt)
    name = f"tdx-{boot.boot}"
    learnt = profile_basis(profile)
    rows: list[Measurement] = []
    for register in range(3):
        gap = next((reason for pcr, reason in gaps.items() if register_of(pcr) == register), None)
        finding = boot.unknown.get(register) or (None if gap is None else (Status.PLATFORM, gap))
        variant = {"boot": boot.boot, **({} if register == 2 else {"secure_boot": boot.secure_boot, **boot.variant})}
        if finding is not None:
            rows.append(_unknown(register, finding, variant))
            continue
        rows.append(
            Measurement(
                register=RTMRS[register],
                alg=ALGORITHM,
                status=Status.PREDICTED if register else Status.PLATFORM,
                value=fold(runtime, register),
                reason=boot.remarks.get(register) if register else LEARNT,
                variant=variant,
                basis=(*boot.basis.get(register, ()), *((learnt,) if register < 2 else ())),
                origin=("log", name),
            )
        )
    return tuple(rows), {name: tuple(event for event in runtime if register_of(event.pcr) is not None)}


def _check_volume(firmware: TdxFirmware, profile: PlatformProfile) -> None:
    """Hold the firmware's variables to what the profile's firmware measured of its own (TDVF design guide §8.2)."""
    measured = [event.digests.get(ALGORITHM) for event in profile.events if event.kind == _VOLUME and event.pcr == 1]
    volume = firmware.volume
    if measured and volume is not None and hashlib.sha384(volume).digest() not in measured:
        raise InputError(
            "the platform profile was learnt with other firmware: its variables are not those of this one",
            code="PVB262",
            hint="give the firmware of the machine that the log is from, with its variables (`--vars`)",
        )


def unknown_rtmrs(status: Status, reason: str, variant: Mapping[str, str | int | bool]) -> Rows:
    """Return RTMR 0 to 2 without values, all for one reason."""
    return tuple(_unknown(register, (status, reason), variant) for register in range(3))


def run_time_register() -> Measurement:
    """Return RTMR 3, which nothing extends before the guest's own programs do."""
    return _unknown(3, (Status.PER_VM, "extended by the guest at run time only; zero until it does"), {})


def identify_by_rtmrs(rows: Sequence[Measurement]) -> Identification:
    """Say whether a quote's RTMR 1 and 2 tie a trust domain to what it was to boot."""
    for register in IDENTIFYING:
        row = next((row for row in rows if row.register == register), None)
        if row is None or row.value is None:
            return Identification(value=False, by=(), reason=f"`{register}`: {'absent' if row is None else row.reason}")
    return Identification(value=True, by=IDENTIFYING, reason=_IDENTIFIES)


def _settings_register(
    boot: TdxBoot,
    runtime: tuple[Event, ...],
    firmware: TdxFirmware,
    known: tuple[Layout | None, str],
    machine: TdxMachine | None,
) -> tuple[Measurement, tuple[Event, ...]]:
    """Return RTMR 0 and its log."""
    layout = known[0]
    variant = {"firmware": firmware.name, **_variant(boot, layout)}
    if machine is not None:
        variant |= {"memory": _memory(machine.memory), **machine.variant}
    finding = next(_doubts(boot, firmware, known, machine), None)
    if finding is not None:
        return _unknown(0, finding, variant), ()
    assert layout is not None and machine is not None  # noqa: S101 - or there would be a finding
    log = machine_log(firmware.image, firmware.sections, machine, layout, runtime)
    name = f"tdx-{boot.boot}-{firmware.name[7:15]}-{variant['memory']}"
    row = Measurement(
        register=RTMRS[0],
        alg=ALGORITHM,
        status=Status.PREDICTED,
        value=fold(log, 0),
        reason=_said("covers firmware settings and the machine alone: it does not identify the image", layout),
        variant=variant,
        basis=(Basis(kind="firmware", digest=firmware.name),),
        origin=("log", name),
    )
    return row, log


def _doubts(
    boot: TdxBoot, firmware: TdxFirmware, known: tuple[Layout | None, str], machine: TdxMachine | None
) -> Iterator[tuple[Status, str]]:
    """Yield what RTMR 0 cannot be predicted for, the strongest reason first."""
    if firmware.silent is not None:
        yield Status.UNPREDICTABLE, firmware.silent
    layout, layout_reason = known
    if layout is None:
        yield Status.PLATFORM, layout_reason
        return
    if 0 in boot.unknown:
        yield boot.unknown[0]
    if firmware.store is None:
        yield Status.NOT_COMPUTED, f"covers the firmware's variables, which cannot be read: {firmware.store_reason}"
    if firmware.has_entries and machine is not None and machine.entries is None:
        yield Status.NOT_COMPUTED, _OWN_ENTRIES
    lacking = unknown_machine(machine, layout, direct=boot.boot == DIRECT)
    if lacking is not None:
        yield Status.PLATFORM, lacking


def _said(remark: str | None, layout: Layout | None) -> str | None:
    """Return a remark on a value, with what must be known of the layout that it was computed for."""
    caution = None if layout is None else layout.caution
    return "; ".join(text for text in (remark, caution) if text) or None


def _variant(boot: TdxBoot, layout: Layout | None) -> dict[str, str | int | bool]:
    named = {} if layout is None else {"layout": layout.name}
    return {"boot": boot.boot, "secure_boot": boot.secure_boot, **named, **boot.variant}


def _unknown(register: int, finding: tuple[Status, str], variant: Mapping[str, str | int | bool]) -> Measurement:
    return Measurement(
        register=RTMRS[register], alg=ALGORITHM, status=finding[0], reason=finding[1], variant=dict(variant)
    )


def _memory(size: int) -> str:
    return f"{size >> 20}M" if not size & 0xFFFFF else f"{size}"
