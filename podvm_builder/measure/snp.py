"""SEV-SNP launch digests as measurements: every input in the ``variant``, every doubt in the ``reason``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from podvm_builder.formats.kernel_hashes import KernelHashes, encode_kernel_hashes
from podvm_builder.measure.inputs import Cpu
from podvm_builder.measure.snp_launch import SnpLaunch
from podvm_builder.measure.vmm import VMMS, Vmm
from podvm_builder.model.measurement import Basis, Identification, Measurement, Status, Variant
from podvm_builder.model.region import Region

if TYPE_CHECKING:
    from podvm_builder.measure.svsm import Svsm

REGISTER = "snp.launch_digest"
FIRMWARE_ONLY = "covers the firmware and the vCPUs alone: it does not identify the image"
SVSM_UNSEEN = "with an SVSM: from COCONUT's QEMU, not yet seen on hardware"


def launch_digest(
    firmware: bytes,
    *,
    cpu: Cpu,
    vcpus: int = 1,
    vmm: Vmm = VMMS[0],
    guest_features: int = 1,
    kernel: KernelHashes | None = None,
    firmware_seed: bytes | None = None,
    svsm: Svsm | None = None,
) -> bytes:
    """Return one launch digest, 48 bytes; arguments and errors are those of :func:`launch_digests`."""
    launch = SnpLaunch(firmware, kernel=kernel, firmware_seed=firmware_seed, svsm=svsm)
    return launch.digests(vmm, cpu=cpu, guest_features=guest_features, vcpus=(vcpus,))[vcpus]


def launch_digests(
    firmware: bytes,
    *,
    vmms: Iterable[Vmm],
    cpus: Iterable[Cpu],
    vcpus: Iterable[int],
    guest_features: Iterable[int] = (1,),
    kernel: KernelHashes | None = None,
    firmware_seed: bytes | None = None,
    svsm: Svsm | None = None,
    boot: str | None = None,
) -> tuple[tuple[Measurement, ...], Mapping[str, tuple[Region, ...]]]:
    """Return the launch digest of every combination of VMM, CPU, guest features and vCPU count, and the regions.

    Args:
        firmware: the OVMF image.
        vmms: rows of :data:`podvm_builder.measure.vmm.VMMS`.
        cpus: CPU models; where a VMM puts no signature into the digest, it is the same for each of them.
        vcpus: vCPU counts.
        guest_features: SEV_FEATURES values.
        kernel: hashes of what is booted directly, where they are measured.
        firmware_seed: see :class:`SnpLaunch`; the firmware is then named by it rather than by its SHA-256.
        svsm: see :class:`SnpLaunch`; known for QEMU alone.
        boot: the boot path named in ``variant``; by default ``direct`` with a kernel, otherwise ``disk``.

    Raises:
        FormatError: the image is not usable firmware, lacks SEV metadata, cannot take kernel hashes, or cannot
            start several vCPUs.
        InputError: a seed, vCPU count or feature set that cannot be.
    """
    launch = SnpLaunch(firmware, kernel=kernel, firmware_seed=firmware_seed, svsm=svsm)
    return measure_launch(launch, vmms=vmms, cpus=cpus, vcpus=vcpus, guest_features=guest_features, boot=boot)


def measure_launch(
    launch: SnpLaunch,
    *,
    vmms: Iterable[Vmm],
    cpus: Iterable[Cpu],
    vcpus: Iterable[int],
    guest_features: Iterable[int] = (1,),
    boot: str | None = None,
) -> tuple[tuple[Measurement, ...], Mapping[str, tuple[Region, ...]]]:
    """Do what :func:`launch_digests` does for a launch that has been read already."""
    kernel, svsm = launch.kernel, _svsm_variant(launch)
    counts = tuple(dict.fromkeys(vcpus))
    models = tuple(dict.fromkeys(cpus))
    features = tuple(dict.fromkeys(guest_features))
    firmware = _firmware_name(launch)
    basis = _basis(firmware, kernel)
    measurements: list[Measurement] = []
    regions: dict[str, tuple[Region, ...]] = {}
    for vmm in dict.fromkeys(vmms):
        reason = _reason(vmm, launch)
        for cpu in models:
            for feature_set in features:
                digests = launch.digests(vmm, cpu=cpu, guest_features=feature_set, vcpus=counts)
                if not digests:
                    continue
                name = _regions_name(firmware, launch, vmm, cpu, feature_set)
                regions[name] = launch.regions(vmm, cpu=cpu, guest_features=feature_set, vcpus=max(digests))
                common: dict[str, str | int | bool] = {
                    "boot": boot or ("disk" if kernel is None else "direct"),
                    "vmm": vmm.name,
                    "vmm_revision": vmm.revision,
                    "firmware": firmware,
                    "cpu": cpu.name,
                    "guest_features": f"{feature_set:#x}",
                    "kernel_hashes": kernel is not None,
                }
                common.update(svsm)
                if kernel is not None:
                    common["cmdline"] = f"sha256:{kernel.cmdline.hex()}"
                measurements += [
                    _measurement(digest, {**common, "vcpus": count}, reason, basis, name)
                    for count, digest in digests.items()
                ]
    return tuple(measurements), regions


def identify(kernel: KernelHashes | None, vmms: Iterable[Vmm]) -> Identification:
    """Return whether launch digests alone tie a machine to what was given as kernel."""
    if kernel is None:
        return Identification(value=False, by=(), reason="the launch digest covers the firmware and the vCPUs alone")
    unable = sorted({vmm.name for vmm in vmms if not vmm.loads_kernel})
    if unable:
        return Identification(value=False, by=(), reason=f"{' and '.join(unable)} cannot load a kernel themselves")
    return Identification(
        value=True,
        by=(REGISTER,),
        reason="kernel hashes in the launch digest cover the kernel (or UKI), initrd and command line",
    )


def _measurement(
    digest: bytes, variant: Variant, reason: str | None, basis: tuple[Basis, ...], regions: str
) -> Measurement:
    return Measurement(
        register=REGISTER,
        alg="sha384",
        status=Status.PREDICTED,
        value=digest,
        reason=reason,
        variant=variant,
        basis=basis,
        origin=("regions", regions),
    )


def _firmware_name(launch: SnpLaunch) -> str:
    if launch.seed_given:
        return f"snp-seed:{launch.firmware_seed.hex()}"
    return f"sha256:{hashlib.sha256(launch.firmware).hexdigest()}"


def _svsm_variant(launch: SnpLaunch) -> Variant:
    if launch.svsm is None:
        return {}
    return {
        "svsm": f"sha256:{hashlib.sha256(launch.svsm.image).hexdigest()}",
        "vars_size": launch.svsm.vars_size,
    }


def _basis(firmware: str, kernel: KernelHashes | None) -> tuple[Basis, ...]:
    basis = [Basis(kind="firmware", digest=firmware)]
    if kernel is not None:
        basis.append(Basis(kind="image", digest=f"sha256:{kernel.kernel.hex()}"))
        if kernel.initrd != hashlib.sha256(b"").digest():
            basis.append(Basis(kind="image", digest=f"sha256:{kernel.initrd.hex()}"))
    return tuple(basis)


def _reason(vmm: Vmm, launch: SnpLaunch) -> str | None:
    """Return what a reader must know of the value, None where there is nothing."""
    said = [FIRMWARE_ONLY] if launch.kernel is None else []
    if launch.svsm is not None:
        said.append(SVSM_UNSEEN)
    if launch.kernel is not None and not vmm.loads_kernel:
        said.append(f"{vmm.name} is not known to load a kernel itself: no machine there reports this value")
    if vmm.caution is not None:
        said.append(vmm.caution)
    return "; ".join(said) or None


def _regions_name(firmware: str, launch: SnpLaunch, vmm: Vmm, cpu: Cpu, features: int) -> str:
    short = firmware.partition(":")[2][:8]
    more = b"" if launch.kernel is None else encode_kernel_hashes(launch.kernel)
    if launch.svsm is not None:
        more = launch.svsm.image
    suffix = f"-{hashlib.sha256(more).hexdigest()[:8]}" if more else ""
    return f"snp-{short}{suffix}-{vmm}-{cpu.name}-{features:#x}"
