"""Every register of a built image's evidence: SNP, TDX and TPM put together, and what they identify."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.digests import MultiHash
from podvm_builder.formats.kernel_hashes import KernelHashes
from podvm_builder.formats.ovmf import read_table
from podvm_builder.formats.readers import chunks
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.boot_log import DIRECT, DISK
from podvm_builder.measure.hashed_boot import hash_boot
from podvm_builder.measure.inputs import Cpu
from podvm_builder.measure.log_diff import CCEL, TPM
from podvm_builder.measure.platform import check_profile
from podvm_builder.measure.rtmr import ALGORITHM
from podvm_builder.measure.snp import REGISTER as LAUNCH_DIGEST
from podvm_builder.measure.snp import measure_launch
from podvm_builder.measure.snp_launch import SnpLaunch
from podvm_builder.measure.tdx import MRTD, measure_mrtd
from podvm_builder.measure.tdx_image import measure_image_rtmrs
from podvm_builder.measure.tpm import DEFAULT_BANKS, predict_boot
from podvm_builder.measure.tpm_boot import TpmBoot, on_machine
from podvm_builder.measure.uncomputed import not_computed
from podvm_builder.measure.userspace import Userspace, inspect
from podvm_builder.measure.vmm import find_vmm
from podvm_builder.model.axes import Target
from podvm_builder.model.layout import RAW, UKI
from podvm_builder.model.manifest import ImageManifest
from podvm_builder.model.measurement import Identification, Measurement, MeasurementSet, Status
from podvm_builder.model.plan import EvidencePlan, PlatformPlan
from podvm_builder.model.platform import PlatformProfile
from podvm_builder.model.reader import BinaryReader
from podvm_builder.model.region import Region

CODE = "PVB247"

_MIXED = "the folder holds files of different builds, or a changed one; build it again"
_CLOUD_FIRMWARE = "covers firmware that the cloud provides, and not the image"
_CLOUD_KEYS = "covers secure-boot state and keys of the cloud's firmware, which the image does not decide"
_CLOUD_DISK = "covers the partition table, which changes where the cloud grows the disk"
_UNKNOWN_FIRMWARE = (
    "firmware that checks kernel hashes may measure a boot twice, and whether this one does is not known"
)
_HASHING_FIRMWARE = (
    "firmware that checks kernel hashes may try a boot twice and measure it twice: learn it from a machine"
)

Launch = tuple[tuple[Measurement, ...], Mapping[str, tuple[Region, ...]]]


def measure_image(
    manifest: ImageManifest,
    *,
    image: BinaryReader,
    uki: BinaryReader,
    firmware: Mapping[str, bytes],
    banks: Sequence[str] = DEFAULT_BANKS,
    profile: PlatformProfile | None = None,
    workers: int = 1,
) -> MeasurementSet:
    """Predict every register that the evidence of a built image's target holds.

    Args:
        manifest: what the build recorded.
        image: ``image.raw``.
        uki: ``image.efi``, what QEMU loads in a direct boot, without a command line of its own and without initrd.
        firmware: images by the name that the manifest's platform uses; one that is not there makes registers
            ``not-computed``.
        banks: TPM banks.
        profile: learnt from a log of the machine; it counts for the boot path that it was learnt with.
        workers: threads for hashing; the result does not depend on it.

    Raises:
        FormatError: the image is not what it should be; see :func:`read_boot_artifacts`.
        InputError: the files are not those of the manifest (PVB247); a CPU or VMM that is not known; a profile of
            another machine (PVB262).
    """
    if profile is not None:
        _check_platform(manifest, firmware, profile)
    files = {RAW: image, UKI: uki}
    _check_sizes(manifest, files)
    if workers <= 1:
        _check_digests(manifest, files)
        return _measure(manifest, image, firmware, banks, profile, workers=1)
    with ThreadPoolExecutor(max_workers=1) as pool:
        checked = pool.submit(_check_digests, manifest, files)
        try:
            return _measure(manifest, image, firmware, banks, profile, workers=workers)
        finally:
            # that a file was changed is said before, and instead of, what is wrong with it
            checked.result()


def _measure(
    manifest: ImageManifest,
    image: BinaryReader,
    firmware: Mapping[str, bytes],
    banks: Sequence[str],
    profile: PlatformProfile | None,
    *,
    workers: int,
) -> MeasurementSet:
    artifacts = read_boot_artifacts(image)
    userspace = inspect(
        artifacts.uki, image, artifacts.gpt, recorded=manifest.phases, credentials=artifacts.credentials
    )
    _check_phases(manifest, userspace)
    boots = _boots(manifest, firmware, userspace)
    of_tpm = boots if profile is None or profile.kind != TPM else tuple(_on_machine(boot, profile) for boot in boots)
    names = tuple(banks)
    disk = manifest.files[RAW].sha256
    # the registers of a trust domain are SHA-384 whatever banks a TPM has; hashing it along costs no second pass
    hashed = hash_boot(
        artifacts,
        tuple(dict.fromkeys((*names, ALGORITHM))),
        boots=tuple(boot.boot for boot in boots),
        workers=workers,
    )
    predictions = [predict_boot(replace(hashed, banks=names), boot, disk_sha256=disk) for boot in of_tpm]
    kernel = predictions[0].uki_sha256
    if kernel.hex() != manifest.files[UKI].sha256:
        raise InputError(f"the UKI inside `{RAW}` is not the `{UKI}` of the manifest", code=CODE)
    launch: Launch = ((), {})
    logs = {boot.boot: prediction.log for boot, prediction in zip(boots, predictions, strict=True)}
    match Target.parse(manifest.target).tee:
        case "snp":
            launch = _snp(manifest.platform, firmware, KernelHashes(kernel=kernel))
        case "tdx":
            launch = _with_firmware(manifest.platform, firmware, MRTD, measure_mrtd)
            registers, runtime = measure_image_rtmrs(
                hashed,
                boots,
                manifest.platform,
                firmware=firmware.get(manifest.platform.firmware),
                promised=manifest.evidence.promised,
                disk_sha256=disk,
                profile=profile if profile is not None and profile.kind == CCEL else None,
            )
            launch = (*launch[0], *registers), launch[1]
            logs |= runtime
        case "se" | "cca" as tee:
            launch = not_computed(tee), {}
    rows = (*launch[0], *(row for prediction in predictions for row in prediction.measurements))
    return MeasurementSet(
        target=manifest.target,
        ids={"rootfs": manifest.ids.rootfs, "image": manifest.ids.image, "plan": manifest.ids.plan},
        identifies_image=identify(manifest.evidence, rows),
        logs=logs,
        regions=launch[1],
        measurements=rows,
        flags=manifest.flags,
        evidence=manifest.evidence.kind,
        boots=manifest.platform.boot,
        facts=manifest.trust,
    )


def identify(evidence: EvidencePlan, rows: Sequence[Measurement]) -> Identification:
    """Say whether the values at hand tie evidence to the image: the catalogue's word, held to what was predicted."""
    if not evidence.identifies:
        return Identification(value=False, by=(), reason=evidence.reason)
    for register in evidence.by:
        found = [row for row in rows if row.register == register]
        if not any(row.value is not None and any(basis.kind == "image" for basis in row.basis) for row in found):
            why = next((row.reason for row in found if row.reason), "it is not among the measurements")
            reason = f"`{register}` would have to be known, too: {why}"
            return Identification(value=False, by=(), reason=reason)
    return Identification(value=True, by=evidence.by, reason=evidence.reason)


def _check_platform(manifest: ImageManifest, firmware: Mapping[str, bytes], profile: PlatformProfile) -> None:
    """Hold a profile to the platform that the manifest names; what is not known of either is not compared."""
    if profile.kind == CCEL and Target.parse(manifest.target).tee != "tdx":
        raise InputError(
            f"the platform profile is that of a trust domain, and `{manifest.target}` is none",
            code="PVB262",
            hint="learn a profile from the log of a TPM: podvm-build evidence learn LOG --kind tpm",
        )
    image = firmware.get(manifest.platform.firmware)
    check_profile(
        profile,
        kind=profile.kind,
        secure_boot=manifest.platform.secure_boot,
        firmware=None if image is None else f"sha256:{hashlib.sha256(image).hexdigest()}",
        vmm=manifest.platform.vmm.partition("@")[0],
    )
    if profile.boot != DISK and profile.boot not in manifest.platform.boot:
        raise InputError(
            f"the platform profile was learnt from a boot by `{profile.boot}`, and `{manifest.target}` has none",
            code="PVB262",
            hint="learn a profile from a boot from disk",
        )


def _on_machine(boot: TpmBoot, profile: PlatformProfile) -> TpmBoot:
    """Return a boot on the machine that was learnt, if that was by the same path."""
    if boot.boot != profile.boot:
        return boot
    # what stays the platform's is the disk that a cloud grows
    kept = {pcr: reason for pcr, reason in boot.platform.items() if reason == _CLOUD_DISK}
    return on_machine(replace(boot, platform=kept, missing={}), profile)


def _check_sizes(manifest: ImageManifest, files: Mapping[str, BinaryReader]) -> None:
    for name, reader in files.items():
        record = manifest.files.get(name)
        if record is None or record.size != reader.size:
            said = "does not list it" if record is None else f"says {record.size}"
            raise InputError(f"`{name}` has {reader.size} bytes; the manifest {said}", code=CODE, hint=_MIXED)


def _check_digests(manifest: ImageManifest, files: Mapping[str, BinaryReader]) -> None:
    """Hold files to the manifest, whose digests of them are printed as what values are based on."""
    for name, reader in files.items():
        if MultiHash(("sha256",)).feed(chunks(reader)).digests()["sha256"].hex() != manifest.files[name].sha256:
            raise InputError(f"`{name}` is not the file that the manifest records", code=CODE, hint=_MIXED)


def _check_phases(manifest: ImageManifest, userspace: Userspace) -> None:
    if userspace.phases is not None and userspace.phases != manifest.phases:
        raise InputError(
            f"the image has the boot phases {list(userspace.phases)}; the manifest says {list(manifest.phases)}",
            code=CODE,
        )


def _boots(manifest: ImageManifest, firmware: Mapping[str, bytes], userspace: Userspace) -> tuple[TpmBoot, ...]:
    """Return the boot from disk, which a proof by boot takes on any target, and the direct boot where there is one."""
    platform = manifest.platform
    of_cloud: dict[int, str] = {}
    if platform.vmm != "qemu":
        of_cloud[7] = _CLOUD_KEYS
        if "tpm.pcr05" not in manifest.evidence.promised:
            of_cloud[5] = _CLOUD_DISK
    disk = TpmBoot(
        boot=DISK,
        secure_boot=platform.secure_boot,
        # what the build recorded does not count against what was seen and cannot be told
        phases=manifest.phases if userspace.phases is not None else (),
        # the units that extend separators are masked together with those of the phases
        separators=bool(manifest.phases),
        userspace=userspace,
        platform=of_cloud,
    )
    if DIRECT not in platform.boot:
        return (disk,)
    return disk, _direct(disk, platform.firmware, firmware.get(platform.firmware))


def _direct(disk: TpmBoot, name: str, firmware: bytes | None) -> TpmBoot:
    """Return the direct boot: under firmware that measures once, under one that may not, or under one not known."""
    direct = replace(disk, boot=DIRECT)
    if firmware is None:
        reason = f"firmware `{name}` is not at hand" if name else "no firmware is named"
    else:
        try:
            read_table(firmware)
        except FormatError as error:
            reason = f"firmware `{name}`: {error.message}"
        else:
            return replace(
                direct, platform=dict.fromkeys((4, 5), _HASHING_FIRMWARE) if _takes_kernel_hashes(firmware) else {}
            )
    return replace(direct, missing=dict.fromkeys((4, 5), f"{_UNKNOWN_FIRMWARE}: {reason}"))


def _takes_kernel_hashes(firmware: bytes) -> bool:
    """Say whether a firmware reserves a place for kernel hashes, and so checks what QEMU loads."""
    try:
        SnpLaunch(firmware, kernel=KernelHashes(kernel=bytes(32)))
    except FormatError:
        return False
    return True


def _snp(platform: PlatformPlan, firmware: Mapping[str, bytes], kernel: KernelHashes) -> Launch:
    def measure(image: bytes) -> Launch:
        rows: list[Measurement] = []
        regions: dict[str, tuple[Region, ...]] = {}
        for boot in platform.boot:
            hashes = kernel if boot == DIRECT and _takes_kernel_hashes(image) else None
            measured, names = measure_launch(
                SnpLaunch(image, kernel=hashes),
                vmms=(find_vmm(platform.vmm),),
                cpus=tuple(map(Cpu.parse, platform.cpus)),
                vcpus=platform.vcpus,
                guest_features=platform.guest_features,
                boot=boot,
            )
            rows += measured
            regions |= names
        return tuple(rows), regions

    return _with_firmware(platform, firmware, LAUNCH_DIGEST, measure)


def _with_firmware(
    platform: PlatformPlan, firmware: Mapping[str, bytes], register: str, measure: Callable[[bytes], Launch]
) -> Launch:
    """Measure a launch, or say why there is no value."""
    image = firmware.get(platform.firmware)
    if not platform.firmware:
        status, reason = Status.PLATFORM, _CLOUD_FIRMWARE
    elif image is None:
        status, reason = Status.NOT_COMPUTED, f"firmware `{platform.firmware}` is not at hand"
    else:
        try:
            return measure(image)
        except FormatError as error:
            status, reason = Status.NOT_COMPUTED, error.message
    variant = {"vmm": platform.vmm, "firmware": platform.firmware or "the cloud's"}
    return (Measurement(register=register, alg="sha384", status=status, reason=reason, variant=variant),), {}
