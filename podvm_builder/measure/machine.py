"""PCRs of a disk image or a lone UKI, from bytes to a measurement set: what ``measure tpm`` does, as a function."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from podvm_builder.measure.artifacts import ForeignBoot, find_boot
from podvm_builder.measure.boot_log import DISK
from podvm_builder.measure.foreign import predict_foreign
from podvm_builder.measure.hashed_boot import hash_boot
from podvm_builder.measure.secure_boot import Keys
from podvm_builder.measure.tpm import DEFAULT_BANKS, identify_by_tpm, predict_boot
from podvm_builder.measure.tpm_boot import TpmBoot, on_machine
from podvm_builder.measure.userspace import inspect
from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.model.platform import PlatformProfile
from podvm_builder.model.reader import BinaryReader


def measure_tpm(
    reader: BinaryReader,
    *,
    boot: str = DISK,
    secure_boot: str | None = None,
    keys: Keys | None = None,
    phases: tuple[str, ...] | None = None,
    banks: Sequence[str] = DEFAULT_BANKS,
    platform: PlatformProfile | None = None,
    workers: int = 1,
) -> MeasurementSet:
    """Predict PCRs 0 to 15 of a raw disk or a UKI, after a look into its initrd, root and kernel.

    Args:
        reader: the bytes; for a qcow2 image a :class:`podvm_builder.formats.qcow2.Qcow2Reader`.
        boot: ``disk`` or ``direct``.
        secure_boot: ``absent``, ``off`` or ``on``; None takes the platform profile's, and without one ``absent``.
        keys: the firmware's secure-boot variables.
        phases: words of boot phases that PCR 11 is extended with; None takes those that the image has.
        banks: hash algorithms.
        platform: what was learnt of the machine; its keys count.
        workers: threads; the result does not depend on it.

    Raises:
        FormatError: no UKI is found, or something that is measured is damaged.
        InputError: PVB262, the platform profile is that of another kind of machine or boot.

    Specifications: TCG PC Client Platform Firmware Profile 1.06; systemd's "TPM2 PCR Measurements Made by systemd".
    """
    way = TpmBoot(boot=boot, secure_boot=secure_boot or "absent", keys=keys)
    if platform is not None:
        way = on_machine(way, platform, secure_boot=secure_boot)
    found = find_boot(reader)
    if isinstance(found, ForeignBoot):
        rows = predict_foreign(found, secure_boot=way.secure_boot, banks=banks, profile=platform)
        return MeasurementSet(
            target="",
            ids={},
            identifies_image=identify_by_tpm(rows),
            logs={},
            regions={},
            measurements=rows,
            evidence="tpm",
        )
    with ThreadPoolExecutor(max_workers=1) as pool:
        # looking into the image is decompressing, which runs beside hashing
        looking = pool.submit(
            inspect,
            found.uki,
            reader if found.gpt is not None else None,
            found.gpt,
            credentials=found.credentials if boot == DISK else (),
        )
        hashed = hash_boot(found, banks, boots=(boot,), workers=workers)
        userspace = looking.result()
    prediction = predict_boot(
        hashed,
        replace(way, phases=(userspace.phases or ()) if phases is None else phases, userspace=userspace),
    )
    return MeasurementSet(
        target="",
        ids={},
        identifies_image=identify_by_tpm(prediction.measurements),
        logs={boot: prediction.log},
        regions={},
        measurements=prediction.measurements,
        evidence="tpm",
    )
