"""MRTD and RTMR 0 to 3 of a trust domain, from bytes to a measurement set: what ``measure tdx`` does, as functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from podvm_builder.measure.artifacts import ForeignBoot, find_boot
from podvm_builder.measure.boot_log import DISK
from podvm_builder.measure.foreign import predict_foreign
from podvm_builder.measure.hashed_boot import hash_boot
from podvm_builder.measure.rtmr import ALGORITHM
from podvm_builder.measure.secure_boot import Keys
from podvm_builder.measure.tdx import SINGLE_PASS, measure_mrtd
from podvm_builder.measure.tdx_boot import NO_STATE, TdxBoot, foreign_boot, tdx_boots, uki_boot
from podvm_builder.measure.tdx_firmware import TdxFirmware
from podvm_builder.measure.tdx_machine import TdxMachine
from podvm_builder.measure.tdx_registers import identify_by_rtmrs, measure_rtmrs, run_time_register
from podvm_builder.measure.tpm import predict_boot
from podvm_builder.measure.tpm_boot import TpmBoot
from podvm_builder.model.measurement import MeasurementSet, Status
from podvm_builder.model.platform import PlatformProfile
from podvm_builder.model.reader import BinaryReader


def measure_tdx(
    firmware: TdxFirmware,
    boot: TdxBoot,
    *,
    machines: Sequence[TdxMachine] = (),
    orders: Iterable[str] = (SINGLE_PASS,),
    platform: PlatformProfile | None = None,
) -> MeasurementSet:
    """Predict MRTD for each page order, RTMR 0 for each machine, and RTMR 1 to 3.

    Args:
        firmware: what :func:`podvm_builder.measure.tdx_firmware.read_firmware` returns.
        boot: what is booted: :func:`image_boot`, or a kernel or nothing (:mod:`podvm_builder.measure.tdx_boot`).
        machines: memory sizes, with ACPI tables where they are known.
        orders: page orders, of :data:`podvm_builder.measure.tdx.ORDERS`.
        platform: learnt from the log of such a trust domain; it takes the place of the machines.

    Raises:
        InputError: a memory size that a machine cannot have (PVB214), an order that is not known (PVB235), a platform
            profile of another firmware or boot (PVB262).
        FormatError: a TD HOB that does not fit the firmware (PVB225), a damaged SMBIOS table (PVB212).

    Specifications: TDX Module Base Specification (TDH.MEM.PAGE.ADD, TDH.MR.EXTEND); UEFI 2.10 §38.4.1; TDX Virtual
    Firmware Design Guide.
    """
    launch, regions = measure_mrtd(firmware.image, orders=orders)
    rows, logs = measure_rtmrs(
        boot,
        firmware=firmware,
        layout=firmware.layout,
        layout_reason=firmware.layout_reason,
        machines=machines,
        profile=platform,
    )
    return MeasurementSet(
        target="",
        ids={},
        identifies_image=identify_by_rtmrs(rows),
        logs=logs,
        regions=regions,
        measurements=(*launch, *rows, run_time_register()),
        evidence="tdx",
    )


def image_boot(
    reader: BinaryReader,
    *,
    boot: str = DISK,
    secure_boot: str = "absent",
    keys: Keys | None = None,
    workers: int = 1,
) -> TdxBoot:
    """Return the boot of a raw disk image or of a UKI.

    Args:
        reader: the bytes; for a qcow2 image a :class:`podvm_builder.formats.qcow2.Qcow2Reader`.
        boot: ``disk`` or ``direct``.
        secure_boot: ``absent``, ``off`` or ``on``.
        keys: the firmware's secure-boot variables.
        workers: threads for hashing; the result does not depend on it.

    Raises:
        FormatError: no UKI is found, or something that is measured is damaged.
    """
    found = find_boot(reader)
    if isinstance(found, ForeignBoot):
        rows = predict_foreign(found, secure_boot=secure_boot, banks=(ALGORITHM,))
        return replace(foreign_boot(rows, secure_boot=secure_boot), gpt=found.gpt)
    hashed = hash_boot(found, (ALGORITHM,), boots=(boot,), workers=workers)
    (way,) = tdx_boots([TpmBoot(boot=boot, secure_boot=secure_boot, keys=keys)])
    return replace(uki_boot(found.uki, way, predict_boot(hashed, way)), gpt=found.gpt)


def without_state(boot: TdxBoot) -> TdxBoot:
    """Return a boot, made for secure boot off, of which it is not known whether secure boot is compiled in at all.

    What is booted measures alike in both cases; RTMR 0 does not.
    """
    return replace(boot, secure_boot="absent or off", unknown={**boot.unknown, 0: (Status.NOT_COMPUTED, NO_STATE)})
