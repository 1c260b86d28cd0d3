"""All digests of a UKI that a boot measures, each byte hashed no more often than its registers need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from podvm_builder.formats.cpio import CpioFile, pad4, stub_archive
from podvm_builder.formats.digests import MultiHash
from podvm_builder.formats.pe import authenticode, authenticode_hash, parse_pe
from podvm_builder.formats.readers import BytesReader, chunks
from podvm_builder.formats.uki import Uki
from podvm_builder.measure.sidecars import Sidecars
from podvm_builder.measure.stub import StubRules
from podvm_builder.model.reader import BinaryReader

Digests = Mapping[str, bytes]
NO_SIDECARS = Sidecars()


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
    addons: Mapping[str, Digests] = field(default_factory=dict)
    """Authenticode digest of each addon, by path, in the order of loading."""
    loader: Digests | None = None
    """Authenticode digest of the boot loader before the UKI."""


def digest_uki(
    uki: Uki,
    rules: StubRules | None,
    algorithms: Sequence[str],
    *,
    sidecars: Sidecars = NO_SIDECARS,
    loader: BinaryReader | None = None,
    workers: int = 1,
) -> UkiDigests:
    """Hash a UKI.

    Args:
        uki: the image.
        rules: what its stub measures; None where that is not known, then only the UKI itself is hashed.
        algorithms: TPM banks.
        sidecars: what the stub adds from the EFI system partition.
        loader: the boot loader that starts the UKI.
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
        initrd=None if rules is None else _initrd(uki, rules, algorithms, done.get(".initrd"), sidecars),
        addons={
            addon.path: authenticode_hash(addon.reader, algorithms, addon.image).digests() for addon in sidecars.addons
        },
        loader=None if loader is None else authenticode(loader, algorithms),
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


def _initrd(
    uki: Uki, rules: StubRules, algorithms: Sequence[str], base: MultiHash | None, sidecars: Sidecars
) -> Digests | None:
    """Hash what LoadFile2 returns; `.initrd` was hashed for PCR 11 already, and its state is taken over.

    Several parts are put together each padded to 4 bytes; a single one is handed over as it is.
    """
    before = list(sidecars.first)
    if rules.initrd_ucode and ".ucode" in uki.sections:
        before.append(uki.sections[".ucode"])
    behind = [*sidecars.archives, *_archives(uki, rules), *sidecars.last]
    initrd = uki.sections.get(".initrd")
    parts = [*before, *([] if initrd is None else [initrd]), *behind]
    if not parts:
        return None
    if base is not None and not before:
        # the state after `.initrd`, which stands first
        state, rest = base.copy(), parts[1:]
        if rest:
            state.update(bytes(pad4(parts[0].size)))
    else:
        state, rest = MultiHash(algorithms), parts
    for part in rest:
        state.feed(chunks(part))
        if len(parts) > 1:
            state.update(bytes(pad4(part.size)))
    return state.digests()


def _archives(uki: Uki, rules: StubRules) -> Iterator[BinaryReader]:
    """Yield the archives behind the initrd, each with one file in `.extra`, in the stub's order."""
    files = [(".pcrsig", "tpm2-pcr-signature.json"), (".pcrpkey", "tpm2-pcr-public-key.pem")]
    if rules.initrd_osrel:
        files.append((".osrel", "os-release"))
    if rules.initrd_profile:
        files.append((".profile", "profile"))
    for section, name in files:
        if section in uki.sections:
            yield BytesReader(stub_archive(".extra", [CpioFile(name=name, data=uki.text(section))]))
