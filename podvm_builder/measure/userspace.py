"""What an image's own userspace extends PCRs with, found by looking into its initrd, root file system and kernel.

Sources: systemd's "TPM2 PCR Measurements Made by systemd", the unit files of systemd 252 to 262; Linux
``security/integrity/ima``. What cannot be read leaves the registers that it might extend without a value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from podvm_builder.errors import FormatError
from podvm_builder.formats import erofs, squashfs
from podvm_builder.formats.compression import Unsupported, name_of, pieces
from podvm_builder.formats.erofs import Erofs
from podvm_builder.formats.filetree import ReadableTree
from podvm_builder.formats.gpt import ESP, Gpt
from podvm_builder.formats.initrd import Initrd
from podvm_builder.formats.readers import window
from podvm_builder.formats.squashfs import Squashfs
from podvm_builder.formats.uki import Uki
from podvm_builder.measure.pcr_units import phase_words, separates
from podvm_builder.measure.place import Place, assigned, masks
from podvm_builder.model.reader import BinaryReader

ROOT_TYPES = (
    UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
    UUID("b921b045-1df0-41c3-af44-4c6f280d3fae"),
)
"""Types of root partitions for x86-64 and arm64 (UAPI Group "Discoverable Partitions Specification")."""

SEPARATED = (*range(8), 9, 12, 13, 14)
"""PCRs that `os-separator` extends."""
_MACHINE = ("systemd-pcrmachine.service", "systemd-pcrfs-root.service", "systemd-pcrfs@.service")
_PHASES_ROOT = ("systemd-pcrphase-sysinit.service", "systemd-pcrphase.service")
_ADDS_UNITS = ("systemd.extra-unit.", "systemd.unit-dropin.")
"""Names of credentials that add or change units (systemd.system-credentials(7))."""
_SET = ("systemd.set_credential", "systemd.set_credential_binary")
_IMPORT = "systemd.import_credentials"
_FALSE = ("0", "no", "n", "false", "f", "off")
_MAX_KERNEL = 256 << 20
_LEAST_KERNEL, _MAX_RATIO = 64 << 20, 64
"""Bytes that may come out of a kernel in any case, and how many for each byte of it; real ones make five of one."""
_AGGREGATE = b"boot_aggregate\0"
"""Name of IMA's first measurement, a text of every kernel that has IMA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Userspace:
    """What was found."""

    phases: tuple[str, ...] | None
    """Words that boot phase units extend PCR 11 with; None where that is not known."""
    doubts: Mapping[int, str] = field(default_factory=dict)
    """PCRs that are extended with something that is not predicted, or may be, with the reason."""
    untouched: frozenset[int] = frozenset()
    """PCRs that are extended on other images, and on this one are not."""
    separator: bool = False
    """The initrd extends :data:`SEPARATED` with `os-separator`."""


def inspect(
    uki: Uki,
    disk: BinaryReader | None = None,
    gpt: Gpt | None = None,
    *,
    recorded: tuple[str, ...] | None = None,
    credentials: Sequence[str] = (),
) -> Userspace:
    """Look into a UKI and, where there is one, into the disk that it lies on.

    Args:
        uki: the image.
        disk: the whole disk; None for a lone UKI: then the root is not judged.
        gpt: its partition table.
        recorded: boot phases that the build of the image recorded; they count where the root cannot be read.
        credentials: names of the credentials' files that the stub hands over beside the UKI.
    """
    cmdline = uki.text(".cmdline").split(b"\0")[0].decode("ascii", "replace")
    doubts: dict[int, str] = {}
    initrd = Place.of("initrd", lambda: _initrd(uki), masks(cmdline, "rd.systemd.mask"))
    root = None
    if disk is not None and gpt is not None:
        root = Place.of("root file system", lambda: open_root(disk, gpt), masks(cmdline, "systemd.mask"))
    separator = initrd.unreadable or separates(initrd)
    if isinstance(separator, str):
        doubts |= dict.fromkeys(SEPARATED, separator)
    if root is None:
        if (uki.stub_version or 0) >= 259:
            doubts.setdefault(9, "systemd 259 and newer extend `nvpcr-separator` where systemd-pcrnvdone.service runs")
    elif root.unreadable and recorded is None:
        doubts.setdefault(9, root.unreadable)
    phases, doubt = _phases(initrd, root, recorded)
    if doubt:
        doubts[11] = doubt
    for place in (initrd, root):
        if place is not None and not place.unreadable and place.runs("systemd-pcrnvdone.service"):
            said = f"systemd-pcrnvdone.service of the {place.name} extends it with `nvpcr-separator`"
            doubts.setdefault(9, f"{said}, after values that the machine's own secret goes into")
    untouched = frozenset(_untouched(uki, initrd, root))
    added = next(_unit_credentials(cmdline, credentials), "")
    if added:
        said = f"credential `{added}` adds or changes units, which may extend it"
        doubts |= dict.fromkeys((*SEPARATED, 11, 15), said)
        return Userspace(phases=None, doubts=doubts, untouched=untouched - {15})
    return Userspace(phases=phases, doubts=doubts, untouched=untouched, separator=separator is True)


def _unit_credentials(cmdline: str, files: Sequence[str]) -> Iterator[str]:
    """Yield the credentials that bring units: those of the command line, and those beside the UKI if they are taken."""
    names = [value.partition(":")[0] for key in _SET for value in assigned(cmdline, key)]
    if [value.lower() for value in assigned(cmdline, _IMPORT)][-1:] not in [[no] for no in _FALSE]:
        names += [name.rpartition("/")[2] for name in files]
    yield from (name for name in names if name.lower().startswith(_ADDS_UNITS))


def _phases(initrd: Place, root: Place | None, recorded: tuple[str, ...] | None) -> tuple[tuple[str, ...] | None, str]:
    """Return the phases that the units extend, or None and why they are not known."""
    phases: list[str] = []
    unreadable = ""
    for place, units in ((initrd, ("systemd-pcrphase-initrd.service",)), (root, _PHASES_ROOT)):
        if place is None:
            continue
        unreadable = unreadable or place.unreadable
        for unit in units:
            if place.runs(unit):
                words = phase_words(place, unit)
                if isinstance(words, str):
                    return None, words
                phases += words
    if not unreadable:
        return tuple(phases), ""
    return (None, unreadable) if recorded is None else (recorded, "")


def _untouched(uki: Uki, initrd: Place, root: Place | None) -> Iterator[int]:
    if root is not None and not (initrd.unreadable or root.unreadable):
        quiet = not any(place.runs(unit) for place in (initrd, root) for unit in _MACHINE)
        # a volume may have its key measured (crypttab(5), `tpm2-measure-pcr`)
        if quiet and not any(place.has("etc/crypttab") for place in (initrd, root)):
            yield 15
    if has_ima(uki.sections[".linux"]) is False:
        yield 10


def has_ima(kernel: BinaryReader) -> bool | None:
    """Say whether a bzImage has IMA compiled in, which extends PCR 10; None where the kernel cannot be read.

    Specification: Linux ``Documentation/arch/x86/boot.rst``, ``payload_offset`` (0x248, from the end of the setup
    sectors, of which 0x1F1 holds the number) and ``payload_length`` (0x24C), protocol 2.08 and newer.
    """
    if kernel.size < 0x250 or kernel.read_at(0x202, 4) != b"HdrS":
        return None
    sectors = kernel.read_at(0x1F1, 1)[0] or 4
    version, offset, length = (
        *struct.unpack("<H", kernel.read_at(0x206, 2)),
        *struct.unpack("<II", kernel.read_at(0x248, 8)),
    )
    start = (sectors + 1) * 512 + offset
    if version < 0x208 or not 8 < length <= _MAX_KERNEL or start + length > kernel.size:
        return None
    payload = kernel.read_at(start, length)
    name = name_of(payload)
    if name is None:
        return None
    seen, total = b"", 0
    try:
        for piece, _ in pieces(name, payload):
            # the end of the piece before, as the text may lie across
            if _AGGREGATE in seen + piece:
                return True
            seen = piece[-len(_AGGREGATE) :]
            total += len(piece)
            if total > min(_MAX_KERNEL, max(_LEAST_KERNEL, _MAX_RATIO * length)):
                return None
    except (FormatError, Unsupported):
        return None
    return False


def _initrd(uki: Uki) -> Initrd | None:
    section = uki.sections.get(".initrd")
    return None if section is None else Initrd(section)


def open_root(disk: BinaryReader, gpt: Gpt) -> ReadableTree | None:
    """Return the root file system of a disk; None where it has no partition beside the EFI system partition.

    Raises:
        FormatError: it is damaged.
        Unsupported: there is not one root partition, or its file system is not known here.
    """
    others = [partition for partition in gpt.partitions if partition.type != ESP]
    if not others:
        return None  # all there is stands in the initrd
    found = [partition for partition in others if partition.type in ROOT_TYPES]
    if len(found) != 1:
        raise Unsupported(f"{len(found)} root partitions where one is wanted")
    reader = window(disk, found[0].offset, found[0].size)
    if reader.size > 4 and reader.read_at(0, 4) == squashfs.MAGIC:
        return Squashfs(reader)
    if reader.size > erofs.OFFSET + 4 and reader.read_at(erofs.OFFSET, 4) == erofs.MAGIC:
        return Erofs(reader)
    raise Unsupported("neither squashfs nor EROFS")
