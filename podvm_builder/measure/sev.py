"""SEV and SEV-ES launch digests of OVMF images (SEV API 55766, LAUNCH_UPDATE_DATA and LAUNCH_UPDATE_VMSA).

One SHA-256 over the bytes that the VMM adds, in order: the firmware, the kernel hash table where QEMU places one,
and, for SEV-ES, the VMSA page of each vCPU. No address and no page type enters it. What a guest owner is sent at
launch (LAUNCH_MEASURE) is an HMAC that covers this digest, the policy and a nonce.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.kernel_hashes import KernelHashes, encode_kernel_hashes
from podvm_builder.formats.ovmf import FOUR_GIB, ap_reset_address, hash_table_area, read_table, unknown_entries
from podvm_builder.measure.inputs import Cpu, check_sev_es_features, check_vcpus
from podvm_builder.measure.vmm import VMMS, Vmm
from podvm_builder.measure.vmsa import RESET_VECTOR, vmsa_page
from podvm_builder.model.measurement import Basis, Identification, Measurement, Status, Variant
from podvm_builder.model.region import Region

SEV = "sev"
SEV_ES = "sev-es"
MODES = (SEV, SEV_ES)
"""What is measured: without and with the register state."""
REGISTER = "{mode}.launch_digest"
LEGACY = "LAUNCH_MEASURE returns an HMAC over this digest, the policy and a nonce, not the digest itself"
_FIRMWARE_ONLY = "covers the firmware{vcpus} alone: it does not identify the image"


class SevLaunch:
    """One firmware, with or without a kernel that is booted directly, and what its digests share.

    Args:
        firmware: the OVMF image.
        kernel: as for :class:`podvm_builder.measure.snp_launch.SnpLaunch`.

    Raises:
        FormatError: not usable firmware, or it cannot take kernel hashes (PVB224).
    """

    def __init__(self, firmware: bytes, *, kernel: KernelHashes | None = None) -> None:
        """Read the table and hash what does not depend on vCPUs."""
        table = read_table(firmware)
        self.unknown_entries = unknown_entries(table)
        """GUIDs of the firmware's table that are not known here, and were ignored."""
        self.firmware = firmware
        self.kernel = kernel
        self._ap_reset = ap_reset_address(table)
        self._area = hash_table_area(table)
        self._table = b"" if kernel is None else encode_kernel_hashes(kernel)
        if self._table and (self._area is None or self._area.size < len(self._table)):
            raise FormatError(
                "firmware: it takes no kernel hashes, so that its digest cannot cover a kernel",
                code="PVB224",
                hint="give an OVMF.amdsev.fd, or measure without `--kernel`",
            )
        self._memory = hashlib.sha256(firmware)
        self.firmware_name = f"sha256:{self._memory.hexdigest()}"
        self._memory.update(self._table)

    def sev_digest(self) -> bytes:
        """Return the SEV digest, 32 bytes: the same for any vCPUs."""
        return self._memory.digest()

    def sev_es_digests(
        self, vmm: Vmm, *, cpu: Cpu, guest_features: int = 0, vcpus: Iterable[int] = (1,)
    ) -> dict[int, bytes]:
        """Return the SEV-ES digest, 32 bytes, for each vCPU count; one walk up to the largest serves all.

        Raises:
            InputError: no vCPU, too many, features of an SNP guest, or a VMM without known SEV-ES state.
            FormatError: several vCPUs, but firmware that does not say where they start.
        """
        check_sev_es_features(guest_features)
        wanted = {check_vcpus(count) for count in vcpus}
        digest = self._memory.copy()
        found: dict[int, bytes] = {}
        pages = self._vmsa_pages(vmm, cpu, guest_features, max(wanted, default=0))
        for count in range(1, max(wanted, default=0) + 1):
            digest.update(pages[min(count, 2) - 1])
            if count in wanted:
                found[count] = digest.digest()
        return found

    def regions(self, vmm: Vmm | None, *, cpu: Cpu, guest_features: int = 0, vcpus: int = 1) -> tuple[Region, ...]:
        """Return what is measured, in launch order; without a VMM, what SEV measures.

        As for SNP, further vCPUs are one region, which a digest of `n` vCPUs covers `n - 1` times.
        """
        size = len(self.firmware)
        parts = [("firmware", FOUR_GIB - size, "data", self.firmware)]
        if self._table and self._area is not None:
            parts.append(("kernel hashes", self._area.gpa, "data", self._table))
        if vmm is not None:
            names = ("VMSA of the first vCPU", "VMSA of each further vCPU")
            pages = self._vmsa_pages(vmm, cpu, guest_features, vcpus)
            parts += [(name, 0, "vmsa", page) for name, page in zip(names, pages, strict=False)]
        return tuple(
            Region(source=source, gpa=gpa, length=len(data), page_type=kind, digest=hashlib.sha384(data).digest())
            for source, gpa, kind, data in parts
        )

    def _vmsa_pages(self, vmm: Vmm, cpu: Cpu, guest_features: int, vcpus: int) -> list[bytes]:
        if vmm.name != "qemu":
            raise InputError(f"SEV-ES under {vmm.name}: its register state is not known", code="PVB229")
        starts = [RESET_VECTOR]
        if vcpus > 1:
            if self._ap_reset is None:
                raise FormatError("firmware: no SEV-ES reset block, so that only one vCPU can start", code="PVB233")
            starts.append(self._ap_reset)
        return [
            vmsa_page(vmm, start=start, first=not index, signature=cpu.signature, guest_features=guest_features)
            for index, start in enumerate(starts)
        ]


def sev_launch_digest(firmware: bytes, *, kernel: KernelHashes | None = None) -> bytes:
    """Return the SEV launch digest, 32 bytes; errors are those of :class:`SevLaunch`."""
    return SevLaunch(firmware, kernel=kernel).sev_digest()


def sev_es_launch_digest(
    firmware: bytes,
    *,
    cpu: Cpu,
    vcpus: int = 1,
    vmm: Vmm = VMMS[0],
    guest_features: int = 0,
    kernel: KernelHashes | None = None,
) -> bytes:
    """Return one SEV-ES launch digest, 32 bytes; errors are those of :class:`SevLaunch` and its methods."""
    launch = SevLaunch(firmware, kernel=kernel)
    return launch.sev_es_digests(vmm, cpu=cpu, guest_features=guest_features, vcpus=(vcpus,))[vcpus]


def measure_sev(
    launch: SevLaunch,
    *,
    modes: Iterable[str] = MODES,
    vmms: Iterable[Vmm] = VMMS[:1],
    cpus: Iterable[Cpu],
    vcpus: Iterable[int] = (1,),
    guest_features: Iterable[int] = (0,),
) -> tuple[tuple[Measurement, ...], Mapping[str, tuple[Region, ...]]]:
    """Return the digests of every combination, SEV's once, and their regions; errors as the launch's methods."""
    measurements: list[Measurement] = []
    regions: dict[str, tuple[Region, ...]] = {}
    common: dict[str, str | int | bool] = {
        "boot": "disk" if launch.kernel is None else "direct",
        "firmware": launch.firmware_name,
        "kernel_hashes": launch.kernel is not None,
    }
    if launch.kernel is not None:
        common["cmdline"] = f"sha256:{launch.kernel.cmdline.hex()}"
    models, counts, features = tuple(dict.fromkeys(cpus)), tuple(vcpus), tuple(dict.fromkeys(guest_features))
    prefix = f"{launch.firmware_name[7:15]}{'' if launch.kernel is None else '-' + launch.sev_digest().hex()[:8]}"
    chosen = tuple(dict.fromkeys(modes))
    if SEV in chosen:
        name = f"sev-{prefix}"
        regions[name] = launch.regions(None, cpu=models[0])
        measurements.append(
            _measurement(
                launch, SEV, launch.sev_digest(), variant={**common, "vmm": "qemu"}, regions=name, caution=None
            )
        )
    for vmm in dict.fromkeys(vmms) if SEV_ES in chosen else ():
        for cpu in models:
            for feature_set in features:
                digests = launch.sev_es_digests(vmm, cpu=cpu, guest_features=feature_set, vcpus=counts)
                name = f"sev-es-{prefix}-{vmm}-{cpu.name}-{feature_set:#x}"
                regions[name] = launch.regions(vmm, cpu=cpu, guest_features=feature_set, vcpus=max(counts))
                variant: Variant = {
                    **common,
                    "vmm": vmm.name,
                    "vmm_revision": vmm.revision,
                    "cpu": cpu.name,
                    "guest_features": f"{feature_set:#x}",
                }
                measurements += [
                    _measurement(
                        launch,
                        SEV_ES,
                        digest,
                        variant={**variant, "vcpus": count},
                        regions=name,
                        caution=vmm.caution,
                    )
                    for count, digest in digests.items()
                ]
    return tuple(measurements), regions


def identify_sev(launch: SevLaunch, modes: Iterable[str]) -> Identification:
    """Return whether the digests alone tie a machine to what was given as kernel."""
    if launch.kernel is None:
        return Identification(value=False, by=(), reason="the launch digest covers the firmware and the vCPUs alone")
    return Identification(
        value=True,
        by=tuple(REGISTER.format(mode=mode) for mode in dict.fromkeys(modes)),
        reason="kernel hashes in the launch digest cover the kernel (or UKI), initrd and command line",
    )


def _measurement(
    launch: SevLaunch, mode: str, digest: bytes, *, variant: Variant, regions: str, caution: str | None
) -> Measurement:
    said = [] if launch.kernel else [_FIRMWARE_ONLY.format(vcpus="" if mode == SEV else " and the vCPUs")]
    basis = [Basis(kind="firmware", digest=launch.firmware_name)]
    if launch.kernel is not None:
        basis.append(Basis(kind="image", digest=f"sha256:{launch.kernel.kernel.hex()}"))
    return Measurement(
        register=REGISTER.format(mode=mode),
        alg="sha256",
        status=Status.PREDICTED,
        value=digest,
        reason="; ".join([*said, LEGACY, *([caution] if caution else [])]),
        variant=variant,
        basis=tuple(basis),
        origin=("regions", regions),
    )
