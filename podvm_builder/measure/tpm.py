"""TPM PCRs of a boot: the fold of its log per bank, and for each register how sure the value is.

Specification: TPM 2.0 part 1 §17 (``new = H(old || digest)``); TCG PC Client Platform Firmware Profile 1.06 §3.3.4 for
what each PCR holds; systemd's "TPM2 PCR Measurements Made by systemd" for 9 and 11-15.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from podvm_builder.formats.efi_siglist import Signature
from podvm_builder.formats.pe import authenticode, parse_pe
from podvm_builder.measure.artifacts import BootArtifacts
from podvm_builder.measure.boot_log import DISK, LOADER, UKI_SUBJECT, boot_log
from podvm_builder.measure.hashed_boot import HashedBoot, hash_boot
from podvm_builder.measure.platform import LEARNT, LEARNT_FROM, on_platform, profile_basis
from podvm_builder.measure.secure_boot import authority
from podvm_builder.measure.sidecars import REMARK, Sidecars
from podvm_builder.measure.stub import command_line, stub_rules
from podvm_builder.measure.tpm_boot import PLATFORM_REASONS, Finding, TpmBoot, unknown_registers
from podvm_builder.measure.uki_digests import UkiDigests
from podvm_builder.measure.userspace import SEPARATED
from podvm_builder.model.event import Event
from podvm_builder.model.measurement import Basis, Identification, Measurement, Status
from podvm_builder.model.platform import Part

DEFAULT_BANKS = ("sha1", "sha256", "sha384")
BANKS = (*DEFAULT_BANKS, "sha512")
"""Banks that can be predicted."""

IDENTIFYING = ("tpm.pcr04", "tpm.pcr11", "tpm.pcr12")
_FROM_IMAGE = (4, 9, 11, 12, 13, 14)
_SEPARATOR = "with `os-separator` of systemd 261 and newer, as its source has it; not yet seen on a TPM"
_HWIDS = "with `.hwids`, as systemd-stub's source has it; not yet seen on a TPM (systemd-measure 257 misnames it)"
LOADER_REMARK = "with systemd-boot before the UKI, as its source has it; seen on a TPM with systemd 257"
_INITDATA = "guest agents extend it with the digest of the pod's initdata; zero where a pod has none"


@dataclass(frozen=True, slots=True, kw_only=True)
class TpmPrediction:
    """PCRs 0-15 of every bank, and the log that they are the fold of."""

    log: tuple[Event, ...]
    measurements: tuple[Measurement, ...]
    uki_sha256: bytes
    """Of the whole file."""


def fold(events: Iterable[Event], pcr: int, algorithm: str, *, locality: int = 0) -> bytes:
    """Return the value of a PCR after the events that extend it.

    It starts with zeros; PCR 0 with the startup locality in its last byte (TPM 2.0 part 1 §34.3).
    """
    start = locality if pcr == 0 else 0
    value = start.to_bytes(hashlib.new(algorithm, usedforsecurity=False).digest_size, "big")
    for event in events:
        if event.pcr == pcr:
            value = hashlib.new(algorithm, value + event.digests[algorithm], usedforsecurity=False).digest()
    return value


def predict_tpm(
    artifacts: BootArtifacts,
    boots: Sequence[TpmBoot],
    *,
    banks: Sequence[str] = DEFAULT_BANKS,
    disk_sha256: str | None = None,
    workers: int = 1,
) -> tuple[TpmPrediction, ...]:
    """Predict PCRs 0-15 for several ways to boot the same image; everything is hashed once.

    Args:
        artifacts: what is booted.
        boots: the ways to boot it.
        banks: some of :data:`BANKS`.
        disk_sha256: hex SHA-256 of the disk image, where the caller has it: the basis of PCR 5.
        workers: threads for hashing; the result does not depend on it.

    Raises:
        FormatError: the image's inner kernel is not a PE image, although firmware would load it.
    """
    hashed = hash_boot(artifacts, banks, boots=tuple(boot.boot for boot in boots), workers=workers)
    return tuple(predict_boot(hashed, boot, disk_sha256=disk_sha256) for boot in boots)


def identify_by_tpm(rows: Sequence[Measurement]) -> Identification:
    """Say whether PCRs tie a TPM's quote to the image: the UKI in PCR 4 and 11, and in 12 that nothing was added."""
    registers = tuple(_programs(rows) if register == IDENTIFYING[0] else register for register in IDENTIFYING)
    for register in registers:
        row = next((row for row in rows if row.register == register), None)
        if row is None or row.value is None:
            return Identification(value=False, by=(), reason=f"`{register}`: {'absent' if row is None else row.reason}")
    return Identification(
        value=True,
        by=registers,
        reason="the TPM measures the UKI, and in PCR 12 that nothing was added to it; as good as the TPM is trusted",
    )


def _programs(rows: Sequence[Measurement]) -> str:
    """Return the register that holds the programs: with a platform profile it may be another one than PCR 4."""
    found = (
        row.register for row in rows if row.register < "tpm.pcr08" and _covers_image(row) and row.alg == rows[0].alg
    )
    return next((register for register in found if register != "tpm.pcr05"), IDENTIFYING[0])


def _covers_image(row: Measurement) -> bool:
    return row.value is not None and any(basis.kind == "image" for basis in row.basis)


def predict_boot(hashed: HashedBoot, boot: TpmBoot, *, disk_sha256: str | None = None) -> TpmPrediction:
    """Predict PCRs 0-15 of one way to boot; see :func:`predict_tpm`."""
    artifacts, banks = hashed.artifacts, hashed.banks
    digests, sidecars = hashed.digests[boot.boot], hashed.sidecars[boot.boot]
    rules = stub_rules(artifacts.uki.stub_version)
    cmdline = command_line(artifacts.uki, rules)[0] if rules is not None else None
    if cmdline is not None and sidecars.cmdline:
        cmdline = f"{cmdline} {sidecars.cmdline}"
    loader = artifacts.loader if boot.boot == DISK else None
    authorities, refused = _authorities(artifacts, boot, digests, sidecars)
    log = boot_log(
        digests,
        banks,
        boot=boot.boot,
        secure_boot=boot.secure_boot,
        gpt=artifacts.gpt,
        cmdline=cmdline,
        phases=boot.phases,
        keys=boot.keys,
        authorities=authorities,
        loader_conf=loader.conf if loader is not None else None,
        sidecars=sidecars,
        separated=_separated(boot),
    )
    if boot.profile is not None:
        log = on_platform(boot.profile, log, banks)
    unknown = unknown_registers(artifacts, boot, sidecars) | refused
    image = (Basis(kind="image", digest=f"sha256:{digests.file.hex()}"),)
    disk = (Basis(kind="image", digest=f"sha256:{disk_sha256}"),) if disk_sha256 and boot.boot == DISK else ()
    remarks = dict.fromkeys((4, 9, 12, 13), REMARK) if sidecars.present else {}
    remarks |= dict.fromkeys(_separated(boot), _SEPARATOR)
    if ".hwids" in digests.sections:
        remarks[11] = _HWIDS
    if loader is not None:
        remarks |= dict.fromkeys((4, 5), LOADER_REMARK)
    rows: list[Measurement] = []
    for pcr in range(16):
        basis = _basis(boot, pcr, image, disk)
        for bank in banks:
            finding = (Status.PER_VM, _INITDATA) if (pcr, bank) == (8, "sha256") else unknown.get(pcr)
            rows += _rows(log, boot, (pcr, bank), finding, basis, remark=remarks.get(pcr))
    return TpmPrediction(log=log, measurements=tuple(rows), uki_sha256=digests.file)


def _separated(boot: TpmBoot) -> tuple[int, ...]:
    """Return the PCRs that userspace separates; those of the platform count where the platform is known."""
    if boot.userspace is None or not boot.userspace.separator:
        return ()
    return tuple(pcr for pcr in SEPARATED if boot.profile is not None or pcr not in PLATFORM_REASONS)


def _basis(boot: TpmBoot, pcr: int, image: tuple[Basis, ...], disk: tuple[Basis, ...]) -> tuple[Basis, ...]:
    """Return what a register's value is computed from."""
    if boot.profile is None:
        return image if pcr in _FROM_IMAGE else disk if pcr == 5 else ()
    programs, table = boot.profile.register_of(Part.PROGRAM), boot.profile.register_of(Part.TABLE)
    basis = image if pcr == programs or (pcr in _FROM_IMAGE and pcr != 4) else ()
    if pcr == table:
        basis += disk
    return (*basis, profile_basis(boot.profile)) if pcr < 8 else basis


def _authorities(
    artifacts: BootArtifacts, boot: TpmBoot, digests: UkiDigests, sidecars: Sidecars
) -> tuple[dict[str, Signature], dict[int, Finding]]:
    """Return the entry of db for each program, and what follows from programs that firmware refuses."""
    if boot.secure_boot != "on" or boot.keys is None:
        return {}, {}
    uki = artifacts.uki
    programs = [(UKI_SUBJECT, uki.reader, uki.image, digests.uki)]
    if artifacts.loader is not None and boot.boot == DISK and digests.loader is not None:
        reader = artifacts.loader.reader
        programs.insert(0, (LOADER, reader, parse_pe(reader), digests.loader))
    programs += [(addon.path, addon.reader, addon.image, digests.addons[addon.path]) for addon in sidecars.addons]
    found: dict[str, Signature] = {}
    refused: dict[int, Finding] = {}
    for name, reader, image, known in programs:
        digest = known.get("sha256") or authenticode(reader, ("sha256",), image)["sha256"]
        entry = authority(boot.keys, reader, image, digest)
        if isinstance(entry, Signature):
            found[name] = entry
        elif name in (UKI_SUBJECT, LOADER):
            reason = f"firmware with these keys does not start the {name}: {entry}"
            refused |= dict.fromkeys((4, 5, 7, 9, 11, 12, 13, 14), (Status.UNPREDICTABLE, reason))
        else:
            reason = (
                f"firmware with these keys refuses `{name}` ({entry}), and whether it measures it is not settled here"
            )
            refused = dict.fromkeys((4, 7, 9, 12), (Status.UNPREDICTABLE, reason)) | refused
    return found, refused


def _rows(
    log: tuple[Event, ...],
    boot: TpmBoot,
    register: tuple[int, str],
    finding: Finding | None,
    basis: tuple[Basis, ...],
    *,
    remark: str | None,
) -> Iterator[Measurement]:
    """Yield a register's row; PCR 11 has one for each phase in which a guest that is up may be asked."""
    pcr, bank = register
    variant: dict[str, str | int | bool] = {"boot": boot.boot}
    if pcr in (4, 7):
        variant["secure_boot"] = boot.secure_boot
    if finding is not None:
        yield Measurement(register=f"tpm.pcr{pcr:02d}", alg=bank, status=finding[0], reason=finding[1], variant=variant)
        return
    status = Status.PREDICTED
    if boot.profile is not None and pcr < 8:
        if bank not in boot.profile.banks:
            reason = f"the platform profile has no {bank} bank"
            yield Measurement(
                register=f"tpm.pcr{pcr:02d}", alg=bank, status=Status.PLATFORM, reason=reason, variant=variant
            )
            return
        if all(event.source == LEARNT_FROM for event in log if event.pcr == pcr):
            status, remark = Status.PLATFORM, LEARNT
    quoted: tuple[str | None, ...] = boot.phases[-2:] if pcr == 11 and boot.phases else (None,)
    for word in quoted:
        # agents may be asked before the last phase is reached, so the value before it is a good one, too
        later = boot.phases[boot.phases.index(word) + 1 :] if word is not None else ()
        events = log[: len(log) - len(later)]
        yield Measurement(
            register=f"tpm.pcr{pcr:02d}",
            alg=bank,
            status=status,
            value=fold(events, pcr, bank, locality=boot.profile.locality if boot.profile is not None else 0),
            reason=remark,
            variant=variant if word is None else {**variant, "phase": word},
            basis=basis,
            origin=("log", boot.boot),
        )
