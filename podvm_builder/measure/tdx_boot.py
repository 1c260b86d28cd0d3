"""What a trust domain boots, as a log and as what is not known of it: a UKI, a plain kernel, or firmware alone.

The log is that of the TPM's PCRs (:mod:`podvm_builder.measure.boot_log`); what is particular to a trust domain is when
programs began to measure through UEFI's confidential-computing protocol: systemd 256, Linux 6.9.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from podvm_builder.errors import InputError
from podvm_builder.formats.bzimage import check_loadable, patched_kernel
from podvm_builder.formats.digests import MultiHash
from podvm_builder.formats.gpt import Gpt
from podvm_builder.formats.pe import authenticode, parse_pe
from podvm_builder.formats.readers import chunks
from podvm_builder.formats.td_hob import q35_memory
from podvm_builder.formats.uki import Uki, kernel_version
from podvm_builder.measure.boot_log import DIRECT, DISK, UKI_SUBJECT, boot_log
from podvm_builder.measure.rtmr import ALGORITHM, register_of
from podvm_builder.measure.secure_boot import Keys, authority
from podvm_builder.measure.tpm import TpmPrediction
from podvm_builder.measure.tpm_boot import Finding, TpmBoot
from podvm_builder.measure.uki_digests import UkiDigests
from podvm_builder.model.event import Event
from podvm_builder.model.measurement import Basis, Measurement, Status
from podvm_builder.model.reader import BinaryReader

CODE = "PVB216"
FILE = "file"
FILLED = "filled"
KERNEL_HEADERS: Mapping[str, str] = {
    FILE: "the kernel as it is: QEMU 10.0 and newer with firmware that takes it from fw_cfg file etc/boot/kernel",
    FILLED: "with the setup header as QEMU fills it in: older ones of either",
}
"""Which bytes of a plain kernel firmware loads, and measures."""

PCRS = (4, 5, 7, 9, 11, 12, 13, 14)
"""What is extended before the kernel runs, and so through the firmware."""

NO_IMAGE = "covers what is booted: give the image, the UKI or the kernel"
OLD_STUB = "systemd-stub measures into a trust domain's registers since 256, unless a distribution added it before"
NEW_STUB = "systemd 261 and newer measure SMBIOS structures themselves, and how is not settled here"
NEW_USERSPACE = (
    "systemd 261 and newer may extend it from userspace with Linux 6.16 and newer, and what is not settled here"
)
OLD_KERNEL = "Linux measures into a trust domain's registers since 6.9, unless a distribution added it before"
NOT_ASCII = "the command line is not ASCII, and how firmware widens it is not settled here"
NO_STATE = "whether secure boot is compiled into this firmware is not known: `--secure-boot` says it"
NO_HEADER = (
    "whether this firmware takes the kernel as it is, or with a header that QEMU fills in, is not known: "
    "`--kernel-header` says it"
)
SUFFIX = b" initrd=initrd"
"""What OVMF adds to the command line of a plain kernel that comes with an initrd."""

_FIRST_STUB, _SMBIOS_STUB = 256, 261
_FIRST_KERNEL = (6, 9)
_EXTENDING_KERNEL = (6, 16)
"""The first with a way for programs to extend run-time registers."""
_MAX_CMDLINE = 1 << 20
_VERSION = re.compile(r"([0-9]+)\.([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxBoot:
    """One way in which a trust domain boots."""

    boot: str
    """One of :data:`podvm_builder.model.plan.BOOT_PATHS`."""
    secure_boot: str
    """One of :data:`podvm_builder.model.plan.SECURE_BOOT`."""
    log: tuple[Event, ...]
    """Of the PCRs, with SHA-384 digests."""
    unknown: Mapping[int, Finding]
    """RTMR 0 to 2 that cannot be predicted on the image's account, each with the reason."""
    basis: Mapping[int, tuple[Basis, ...]]
    """What RTMR 1 and 2 are computed from."""
    remarks: Mapping[int, str] = field(default_factory=dict)
    """What else must be known of RTMR 1 and 2."""
    variant: Mapping[str, str | int | bool] = field(default_factory=dict)
    """Inputs of RTMR 1 besides boot path and layout."""
    gpt: Gpt | None = None
    """Partition table of the disk that is booted; None where there is no disk."""


def tdx_boots(boots: Sequence[TpmBoot]) -> tuple[TpmBoot, ...]:
    """Return the boots as a trust domain sees them, for :func:`podvm_builder.measure.tpm.predict_tpm`.

    Neither systemd's phases nor its separators reach an RTMR; ``dbr`` is not measured by edk2's ``TdTcg2Dxe``.
    """
    return tuple(
        replace(
            boot,
            phases=(),
            separators=False,
            userspace=None,
            platform={},
            keys=None if boot.keys is None else replace(boot.keys, dbr=b""),
        )
        for boot in boots
    )


def sha384_alone(prediction: TpmPrediction) -> TpmPrediction:
    """Return a prediction whose events have no other digests: a trust domain has one bank."""
    log = tuple(replace(event, digests={ALGORITHM: event.digests[ALGORITHM]}) for event in prediction.log)
    return replace(prediction, log=log)


def foreign_boot(rows: Sequence[Measurement], *, secure_boot: str) -> TdxBoot:
    """Return the boot of an image with shim or GRUB, of which the PCRs' rows say what is not settled."""
    unknown, basis, _ = _of_rows(rows)
    return TdxBoot(boot=DISK, secure_boot=secure_boot, log=(), unknown=unknown, basis=basis)


def uki_boot(uki: Uki, boot: TpmBoot, prediction: TpmPrediction) -> TdxBoot:
    """Return the boot of a UKI.

    Args:
        uki: what is booted, in the end.
        boot: one of :func:`tdx_boots`.
        prediction: for that boot, with a SHA-384 bank.
    """
    unknown, basis, remarks = _of_rows(prediction.measurements)
    version = uki.stub_version
    if version is not None and version < _FIRST_STUB:
        unknown.setdefault(2, (Status.UNPREDICTABLE, OLD_STUB))
    if version is not None and version >= _SMBIOS_STUB:
        unknown.setdefault(0, (Status.UNPREDICTABLE, NEW_STUB))
        if uki.kernel_release is None or uki.kernel_release >= _EXTENDING_KERNEL:
            unknown = dict.fromkeys((1, 2), (Status.UNPREDICTABLE, NEW_USERSPACE)) | unknown
    if uki.kernel_release is not None and uki.kernel_release < _FIRST_KERNEL:
        unknown.setdefault(2, (Status.UNPREDICTABLE, OLD_KERNEL))
    return TdxBoot(
        boot=boot.boot,
        secure_boot=boot.secure_boot,
        log=prediction.log,
        unknown=unknown,
        basis=basis,
        remarks=remarks,
    )


def kernel_boot(
    kernel: BinaryReader,
    *,
    initrd: BinaryReader | None,
    append: bytes,
    header: str,
    memory: int | None,
    secure_boot: str,
    keys: Keys | None,
) -> TdxBoot:
    """Return the boot of a plain kernel that QEMU hands over.

    Args:
        kernel: a bzImage with EFI stub.
        initrd: what QEMU is given with it.
        append: the command line as QEMU is given it, without NUL.
        header: one of :data:`KERNEL_HEADERS`.
        memory: bytes of guest memory; needed for a filled header with an initrd.
        secure_boot: one of :data:`podvm_builder.model.plan.SECURE_BOOT`.
        keys: the firmware's.

    Raises:
        FormatError: not a kernel that QEMU and firmware start: PVB213, PVB240.
        InputError: a NUL in the command line (PVB216), an initrd that does not fit (PVB213), no memory size (PVB214).
    """
    if b"\0" in append or len(append) > _MAX_CMDLINE:
        raise InputError("the command line holds a NUL, or is longer than 1 MiB", code=CODE)
    check_loadable(kernel)
    loaded = kernel
    if header == FILLED:
        size = None if initrd is None else initrd.size
        loaded = patched_kernel(kernel, initrd_size=size, below_4g=_below_4g(memory, size), append=append)
    image = parse_pe(loaded)
    digests = authenticode(loaded, (ALGORITHM, "sha256"), image)
    unknown: dict[int, Finding] = {}
    authorities = {}
    if secure_boot == "on" and keys is not None:
        entry = authority(keys, loaded, image, digests["sha256"])
        if isinstance(entry, str):
            reason = f"firmware with these keys does not start the kernel as an EFI program: {entry}"
            unknown = dict.fromkeys(range(3), (Status.UNPREDICTABLE, reason))
        else:
            authorities[UKI_SUBJECT] = entry
    line = append + (SUFFIX if initrd is not None and initrd.size else b"")
    found = UkiDigests(
        file=_sha256(kernel),
        uki={ALGORITHM: digests[ALGORITHM]},
        kernel=None,
        sections={},
        initrd=None if initrd is None else MultiHash((ALGORITHM,)).feed(chunks(initrd)).digests(),
    )
    log = boot_log(
        found,
        (ALGORITHM,),
        boot=DIRECT,
        secure_boot=secure_boot,
        gpt=None,
        # without load options the kernel has nothing to measure
        cmdline=line.decode("latin-1") or None,
        keys=None if keys is None else replace(keys, dbr=b""),
        authorities=authorities,
    )
    if secure_boot == "on" and keys is None:
        unknown.setdefault(0, (Status.NOT_COMPUTED, "covers the firmware's keys; no variable store was given"))
    if not line.isascii():
        unknown.setdefault(2, (Status.UNPREDICTABLE, NOT_ASCII))
    version = _release(kernel_version(kernel))
    if version is None:
        reason = "the kernel does not say its version, so that what it measures is not known"
        unknown.setdefault(2, (Status.UNPREDICTABLE, reason))
    elif version < _FIRST_KERNEL:
        unknown.setdefault(2, (Status.UNPREDICTABLE, OLD_KERNEL))
    basis = (Basis(kind="image", digest=f"sha256:{found.file.hex()}"),)
    files = basis if initrd is None else (*basis, Basis(kind="image", digest=f"sha256:{_sha256(initrd).hex()}"))
    return TdxBoot(
        boot=DIRECT,
        secure_boot=secure_boot,
        log=tuple(replace(event, subject=event.subject.replace(UKI_SUBJECT, "kernel")) for event in log),
        unknown=unknown,
        basis={1: basis, 2: files},
        variant={"kernel_header": header},
    )


def firmware_boot(boot: str, *, secure_boot: str, keys: Keys | None) -> TdxBoot:
    """Return a boot of which nothing is known but the firmware: enough for RTMR 0 as long as secure boot is not on."""
    nothing = UkiDigests(file=b"", uki={ALGORITHM: b""}, kernel=None, sections={}, initrd=None)
    log = boot_log(
        nothing,
        (ALGORITHM,),
        boot=boot,
        secure_boot=secure_boot,
        gpt=None,
        cmdline=None,
        keys=None if keys is None else replace(keys, dbr=b""),
    )
    unknown: dict[int, Finding] = dict.fromkeys((1, 2), (Status.NOT_COMPUTED, NO_IMAGE))
    if secure_boot == "on":
        unknown[0] = (Status.NOT_COMPUTED, f"secure boot is on: {NO_IMAGE}")
    return TdxBoot(
        boot=boot,
        secure_boot=secure_boot,
        log=tuple(event for event in log if event.digests[ALGORITHM]),
        unknown=unknown,
        basis={},
    )


def _of_rows(
    rows: Sequence[Measurement],
) -> tuple[dict[int, Finding], dict[int, tuple[Basis, ...]], dict[int, str]]:
    """Return, by RTMR, what its PCRs leave unknown, what they are computed from, and remarks on them."""
    unknown: dict[int, Finding] = {}
    basis: dict[int, tuple[Basis, ...]] = {}
    remarks: dict[int, str] = {}
    for pcr in PCRS:
        row = _row(rows, pcr)
        register = register_of(pcr)
        assert register is not None  # noqa: S101 - all of PCRS have one
        if row.value is None:
            unknown.setdefault(register, (row.status, row.reason or ""))
        elif row.reason:
            remarks.setdefault(register, row.reason)
        basis[register] = tuple(dict.fromkeys((*basis.get(register, ()), *row.basis)))
    return unknown, basis, remarks


def _below_4g(memory: int | None, initrd_size: int | None) -> int:
    if initrd_size is None:
        return 0
    if memory is None:
        raise InputError(
            "with a header that QEMU fills in, the initrd's address goes into the kernel's digest, and it follows from "
            "the memory size",
            code="PVB214",
            hint="give `--memory`",
        )
    return q35_memory(memory)[0][1]


def _release(text: str | None) -> tuple[int, int] | None:
    match = _VERSION.match(text or "")
    return (int(match[1]), int(match[2])) if match else None


def _row(rows: Sequence[Measurement], pcr: int) -> Measurement:
    name = f"tpm.pcr{pcr:02d}"
    return next(row for row in rows if row.register == name and row.alg == ALGORITHM)


def _sha256(reader: BinaryReader) -> bytes:
    digest = hashlib.sha256()
    for piece in chunks(reader):
        digest.update(piece)
    return digest.digest()
