"""All digests of a UKI that a boot measures, each byte hashed no more often than its registers need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from podvm_builder.formats.cpio import CpioFile, pad4, stub_archive
from podvm_builder.formats.digests import MultiHash
from podvm_builder.formats.pe import authenticode_hash, parse_pe
from podvm_builder.formats.readers import chunks
from podvm_builder.formats.uki import Uki
from podvm_builder.measure.stub import StubRules
from podvm_builder.model.reader import BinaryReader

Digests = Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class UkiDigests:
    """Digests per algorithm."""

    file: bytes
    """SHA-256 of the whole file: what values computed from it name as their basis."""
    uki: Digests
    """Authenticode digest of the UKI."""
    kernel: Digests | None
    """Authenticode digest of the inner kernel, where the stub has the firmware load it."""
    sections: Mapping[str, Digests]
    """Content of each section that extends PCR 11, in that order."""
    initrd: Digests | None
    """What the kernel loads as its initrd: `.initrd` and the archives that the stub adds; None without any."""


def digest_uki(uki: Uki, rules: StubRules | None, algorithms: Sequence[str], *, workers: int = 1) -> UkiDigests:
    """Hash a UKI.

    Args:
        uki: the image.
        rules: what its stub measures; None where that is not known, then only the UKI itself is hashed.
        algorithms: TPM banks.
        workers: threads; hashing runs outside Python's lock. The result does not depend on it.

    Raises:
        FormatError: the inner kernel is not a PE image, although the firmware would load it.
    """
    jobs = _jobs(uki, rules, algorithms)
    if workers > 1:
        # the largest first, so that no worker is left with it at the end
        order = sorted(jobs, key=lambda job: -jobs[job][0])
        with ThreadPoolExecutor(max_workers=workers) as pool:
            done = dict(zip(order, pool.map(lambda job: jobs[job][1](), order), strict=True))
    else:
        done = {name: run() for name, (_, run) in jobs.items()}
    sections = [name for name in jobs if name.startswith(".")]
    return UkiDigests(
        file=done["file"].digests()["sha256"],
        uki=done["uki"].digests(),
        kernel=done["kernel"].digests() if "kernel" in done else None,
        sections={name: done[name].digests() for name in sections},
        initrd=None if rules is None else _initrd(uki, rules, algorithms, done.get(".initrd")),
    )


def _jobs(
    uki: Uki, rules: StubRules | None, algorithms: Sequence[str]
) -> dict[str, tuple[int, Callable[[], MultiHash]]]:
    """Return what is to be hashed: the number of bytes and the work, by name; sections by their own names."""
    whole = uki.reader
    jobs: dict[str, tuple[int, Callable[[], MultiHash]]] = {
        "file": (whole.size, partial(_whole, whole, ("sha256",))),
        "uki": (whole.size, partial(authenticode_hash, whole, algorithms, uki.image)),
    }
    if rules is not None:
        kernel = uki.sections[".linux"]
        if rules.loads_kernel_by_firmware:
            jobs["kernel"] = (kernel.size, partial(authenticode_hash, kernel, algorithms, parse_pe(kernel)))
        for name in rules.sections:
            if name in uki.sections:
                jobs[name] = (uki.sections[name].size, partial(_whole, uki.sections[name], algorithms))
    return jobs


def _whole(reader: BinaryReader, algorithms: Sequence[str]) -> MultiHash:
    return MultiHash(algorithms).feed(chunks(reader))


def _initrd(uki: Uki, rules: StubRules, algorithms: Sequence[str], base: MultiHash | None) -> Digests | None:
    """Hash what LoadFile2 returns; `.initrd` was hashed for PCR 11 already, and its state is taken over."""
    behind = _archives(uki, rules)
    ucode = uki.sections.get(".ucode") if rules.initrd_ucode else None
    if base is None and ucode is None and not behind:
        return None
    state = MultiHash(algorithms) if base is None or ucode is not None else base.copy()
    if ucode is not None:
        state.feed(chunks(ucode)).update(bytes(pad4(ucode.size)))
        if base is not None:
            state.feed(chunks(uki.sections[".initrd"]))
    if base is not None and (behind or ucode is not None):
        state.update(bytes(pad4(uki.sections[".initrd"].size)))
    state.update(behind)
    return state.digests()


def _archives(uki: Uki, rules: StubRules) -> bytes:
    """Return the archives behind the initrd, each with one file in `.extra`, in the stub's order."""
    files = [(".pcrsig", "tpm2-pcr-signature.json"), (".pcrpkey", "tpm2-pcr-public-key.pem")]
    if rules.initrd_osrel:
        files.append((".osrel", "os-release"))
    return b"".join(
        stub_archive(".extra", [CpioFile(name=name, data=uki.text(section))])
        for section, name in files
        if section in uki.sections
    )
