"""RTMR 0 to 3 of a built image's target: which firmware runs there, and what it measures of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from podvm_builder.catalog.ovmf import CLOUD_LAYOUTS, Layout, find_layout
from podvm_builder.errors import FormatError, InputError
from podvm_builder.measure.boot_log import DISK
from podvm_builder.measure.hashed_boot import HashedBoot
from podvm_builder.measure.platform import check_profile, profile_keys
from podvm_builder.measure.rtmr import ALGORITHM
from podvm_builder.measure.tdx_boot import sha384_alone, tdx_boots, uki_boot
from podvm_builder.measure.tdx_firmware import TdxFirmware, read_firmware, secure_boot_state
from podvm_builder.measure.tdx_registers import (
    CLOUD_FIRMWARE,
    RTMRS,
    Logs,
    Rows,
    measure_rtmrs,
    run_time_register,
    unknown_rtmrs,
)
from podvm_builder.measure.tpm import predict_boot
from podvm_builder.measure.tpm_boot import Finding, TpmBoot
from podvm_builder.model.measurement import Status
from podvm_builder.model.plan import PlatformPlan
from podvm_builder.model.platform import PlatformProfile

_PARAVISOR = "the registers are the paravisor's, which measures the image into its vTPM"
_GROWING_DISK = "covers the partition table, which changes where the cloud grows the disk"
_HYPERV = "hyperv"


def measure_image_rtmrs(
    hashed: HashedBoot,
    boots: Sequence[TpmBoot],
    platform: PlatformPlan,
    *,
    firmware: bytes | None,
    promised: Sequence[str],
    disk_sha256: str,
    profile: PlatformProfile | None = None,
) -> tuple[Rows, Logs]:
    """Return RTMR 0 to 2 for every way to boot, RTMR 3, and the logs.

    Args:
        hashed: the image, with SHA-384 among its banks.
        boots: the ways to boot it.
        platform: the plan's.
        firmware: the platform's, None where it is the cloud's or not at hand.
        promised: registers that the image's owner can promise on this cloud.
        disk_sha256: hex, of the disk image.
        profile: learnt from a trust domain's log; it counts for the boot path that it was learnt with.

    Raises:
        InputError: PVB262, the profile is that of another machine.
    """
    if platform.vmm == _HYPERV:
        return (*unknown_rtmrs(Status.PLATFORM, _PARAVISOR, {"boot": DISK}), run_time_register()), {}
    image, layout, reason, lacking = _firmware(platform, firmware)
    rows: Rows = ()
    logs: Logs = {}
    for way in tdx_boots(boots):
        learnt = profile if profile is not None and profile.boot == way.boot else None
        boot = way if learnt is None else _with_keys(way, learnt)
        prediction = predict_boot(replace(hashed, banks=(ALGORITHM,)), boot, disk_sha256=disk_sha256)
        found = uki_boot(hashed.artifacts.uki, boot, sha384_alone(prediction))
        found = replace(found, gpt=hashed.artifacts.gpt)
        if boot.boot == DISK and not platform.firmware and RTMRS[1] not in promised:
            finding: Finding = (Status.PLATFORM, _GROWING_DISK)
            found = replace(found, unknown={1: finding, **found.unknown})
        of_boot, log = measure_rtmrs(
            found, firmware=image, layout=layout, layout_reason=reason, no_firmware=lacking, profile=learnt
        )
        rows += of_boot
        logs |= log
    return (*rows, run_time_register()), logs


def _with_keys(boot: TpmBoot, profile: PlatformProfile) -> TpmBoot:
    check_profile(profile, kind="ccel", secure_boot=boot.secure_boot, keys=boot.keys)
    return replace(boot, keys=profile_keys(profile))


def _firmware(platform: PlatformPlan, data: bytes | None) -> tuple[TdxFirmware | None, Layout | None, str, Finding]:
    """Return the firmware, its layout or why there is none, and what is said of RTMR 0 without firmware."""
    if not platform.firmware:
        name = CLOUD_LAYOUTS.get(platform.vmm)
        layout = None if name is None else find_layout(name)
        return None, layout, "in which order the cloud's firmware measures is not known here", CLOUD_FIRMWARE
    reason = f"firmware `{platform.firmware}` is not at hand"
    if data is not None:
        try:
            image = read_firmware(data)
            secure_boot_state(image, platform.secure_boot)
        except (FormatError, InputError) as error:
            reason = error.message
        else:
            return image, image.layout, image.layout_reason, CLOUD_FIRMWARE
    return None, None, reason, (Status.NOT_COMPUTED, reason)
