"""What an image's own userspace extends PCRs with, found by looking into its initrd, root file system and kernel.

Sources: systemd's "TPM2 PCR Measurements Made by systemd", the unit files of systemd 252 to 262 (an empty unit file or
a link to ``/dev/null`` masks, systemd.unit(5)); Linux ``security/integrity/ima``. A unit that is there and not masked
is taken to run; what cannot be read leaves the registers that it might extend without a value.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from podvm_builder.errors import FormatError
from podvm_builder.formats import erofs, squashfs
from podvm_builder.formats.compression import Unsupported, name_of, pieces
from podvm_builder.formats.erofs import Erofs
from podvm_builder.formats.filetree import FileTree, Kind, ReadableTree, find
from podvm_builder.formats.gpt import ESP, Gpt
from podvm_builder.formats.initrd import Initrd
from podvm_builder.formats.readers import window
from podvm_builder.formats.squashfs import Squashfs
from podvm_builder.formats.uki import Uki
from podvm_builder.formats.unit_file import TYPES
from podvm_builder.model.reader import BinaryReader

PHASES_INITRD = ("enter-initrd", "leave-initrd")
ROOT_TYPES = (
    UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
    UUID("b921b045-1df0-41c3-af44-4c6f280d3fae"),
)
"""Types of root partitions for x86-64 and arm64 (UAPI Group "Discoverable Partitions Specification")."""

_SEPARATED = (4, 5, 7, 9, 12, 13, 14)
"""PCRs that `os-separator` extends, besides the platform's."""
_UNITS = ("etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
_MACHINE = ("systemd-pcrmachine.service", "systemd-pcrfs-root.service", "systemd-pcrfs@.service")
_PHASE_UNITS = {
    "systemd-pcrphase-initrd.service": PHASES_INITRD,
    "systemd-pcrphase-sysinit.service": ("sysinit",),
    "systemd-pcrphase.service": ("ready",),
}
_MASKER = "systemd/system-generators/systemd-debug-generator"
_WORD = re.compile(r"""(?:[^\s"']|"[^"]*(?:"|$)|'[^']*(?:'|$))+""")
"""A word of the command line, in which quotes may stand anywhere."""
_MAX_KERNEL = 256 << 20
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


def inspect(
    uki: Uki, disk: BinaryReader | None = None, gpt: Gpt | None = None, *, recorded: tuple[str, ...] | None = None
) -> Userspace:
    """Look into a UKI and, where there is one, into the disk that it lies on.

    Args:
        uki: the image.
        disk: the whole disk; None for a lone UKI: then the root is not judged.
        gpt: its partition table.
        recorded: boot phases that the build of the image recorded; they count where the root cannot be read.
    """
    cmdline = uki.text(".cmdline").split(b"\0")[0].decode("ascii", "replace")
    doubts: dict[int, str] = {}
    initrd = _Place.of("initrd", lambda: _initrd(uki), _masks(cmdline, "rd.systemd.mask"))
    root = None
    if disk is not None and gpt is not None:
        root = _Place.of("root file system", lambda: open_root(disk, gpt), _masks(cmdline, "systemd.mask"))
    if initrd.unreadable:
        doubts |= dict.fromkeys(_SEPARATED, initrd.unreadable)
    elif initrd.runs("systemd-pcrosseparator.service"):
        said = "the initrd's systemd-pcrosseparator.service extends it with `os-separator`"
        doubts |= dict.fromkeys(_SEPARATED, said)
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
            doubts.setdefault(9, f"systemd-pcrnvdone.service of the {place.name} extends it with `nvpcr-separator`")
    return Userspace(
        phases=phases,
        doubts=doubts,
        untouched=frozenset(_untouched(uki, initrd, root)),
    )


def _phases(
    initrd: _Place, root: _Place | None, recorded: tuple[str, ...] | None
) -> tuple[tuple[str, ...] | None, str]:
    """Return the phases that the units extend, or None and why they are not known."""
    phases: list[str] = []
    unreadable = ""
    for place, units in (
        (initrd, ("systemd-pcrphase-initrd.service",)),
        (root, ("systemd-pcrphase-sysinit.service", "systemd-pcrphase.service")),
    ):
        if place is None:
            continue
        unreadable = unreadable or place.unreadable
        for unit in units:
            if not place.runs(unit):
                continue
            change = place.drop_in(unit)
            if change:
                return None, f"`{change}` of the {place.name} changes {unit}, and how is not looked into"
            if not (place.wants(unit) and place.reaches_tpm()):
                return (
                    None,
                    "boot phase units are there, but not all that they need to reach the TPM, or none asks for them",
                )
            phases += _PHASE_UNITS[unit]
    if not unreadable:
        return tuple(phases), ""
    return (None, unreadable) if recorded is None else (recorded, "")


def _untouched(uki: Uki, initrd: _Place, root: _Place | None) -> Iterator[int]:
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
            if total > _MAX_KERNEL:
                return None
    except (FormatError, Unsupported):
        return None
    return False


class _Place:
    """One tree, as systemd looks for units in it."""

    def __init__(self, name: str, tree: FileTree | None, unreadable: str, masks: frozenset[str]) -> None:
        self.name = name
        self.unreadable = unreadable
        self._masks = masks
        self._units: dict[str, bool] = {}
        self._wanted: set[str] = set()
        self._drop_ins: dict[str, str] = {}
        self._tree = tree
        if tree is not None:
            self._collect(tree)

    @classmethod
    def of(cls, name: str, open_tree: Callable[[], FileTree | None], masks: frozenset[str]) -> _Place:
        """Read a tree; one that cannot be read says why."""
        try:
            return cls(name, open_tree(), "", masks)
        except (FormatError, Unsupported) as error:
            said = error.message if isinstance(error, FormatError) else str(error)
            return cls(name, None, f"the {name} cannot be read, and so not what it extends: {said}", masks)

    def _collect(self, tree: FileTree) -> None:
        for folder in _UNITS:
            for entry in tree.list(folder):
                masked = entry.target == "/dev/null" or (entry.kind is Kind.FILE and entry.size == 0)
                # the first place counts
                self._units.setdefault(entry.name, not masked)
                if entry.kind is Kind.FOLDER and entry.name.endswith((".wants", ".requires", ".upholds")):
                    self._wanted |= {wanted.name for wanted in tree.list(f"{folder}/{entry.name}")}
                if entry.name.endswith(".service.d") or entry.name == "service.d":
                    path = f"{folder}/{entry.name}"
                    found = [file.name for file in tree.list(path) if file.name.endswith(".conf")]
                    if found or entry.kind is not Kind.FOLDER:
                        self._drop_ins.setdefault(entry.name, path)

    def runs(self, unit: str) -> bool:
        """Say whether a unit is there and not masked."""
        return self._units.get(unit, False) and not (unit in self._masks and self._masks_count())

    def _masks_count(self) -> bool:
        """Say whether the generator is there that makes masks of words of the command line."""
        return self._tree is not None and _has_masker(self._tree)

    def drop_in(self, unit: str) -> str:
        """Return a folder with drop-ins for a service, empty where there is none.

        Specification: systemd.unit(5): the folder of the unit, those of its name cut behind each dash, and that of
        all services.
        """
        words = unit.removesuffix(".service").split("-")
        cut = ["-".join(words[:number]) + "-.service.d" for number in range(len(words) - 1, 0, -1)]
        return next((self._drop_ins[name] for name in (f"{unit}.d", *cut, "service.d") if name in self._drop_ins), "")

    def wants(self, unit: str) -> bool:
        """Say whether another unit pulls it in."""
        return unit in self._wanted

    def has(self, path: str) -> bool:
        """Say whether a path exists."""
        return self._tree is not None and find(self._tree, path) is not None

    def reaches_tpm(self) -> bool:
        """Say whether what systemd loads to speak to a TPM is there: its helper and the TSS libraries."""
        if self._tree is None:
            return False
        helpers = ("systemd-pcrextend", "systemd-pcrphase")
        libraries = [entry.name for folder in self._libraries(self._tree) for entry in self._tree.list(folder)]
        return any(self.has(f"usr/lib/systemd/{name}") for name in helpers) and all(
            any(name.startswith(wanted) for name in libraries)
            for wanted in ("libtss2-esys.so", "libtss2-tcti-device.so")
        )

    @staticmethod
    def _libraries(tree: FileTree) -> list[str]:
        nested = [f"usr/lib/{entry.name}" for entry in tree.list("usr/lib") if entry.name.endswith("-linux-gnu")]
        return ["usr/lib", "usr/lib64", *nested]


def masked_units(cmdline: str, root: FileTree) -> frozenset[str]:
    """Return the units of a root file system that the command line masks.

    Raises:
        FormatError: the tree is damaged.
        Unsupported: it cannot be read here.
    """
    return _masks(cmdline, "systemd.mask") if _has_masker(root) else frozenset()


def _has_masker(tree: FileTree) -> bool:
    return any(find(tree, f"{folder}/{_MASKER}") is not None for folder in ("usr/lib", "lib"))


def _masks(cmdline: str, key: str) -> frozenset[str]:
    """Return the units that a key of the command line masks.

    Specification: systemd-debug-generator(8), which honours ``rd.systemd.mask=`` in the initrd only and
    ``systemd.mask=`` only in the main system; quotes are removed, and a name without a type is a service's.
    """
    words = (re.sub("[\"']", "", word) for word in _WORD.findall(cmdline))
    names = (word.removeprefix(f"{key}=") for word in words if word.startswith(f"{key}="))
    return frozenset(name if name.endswith(TYPES) else f"{name}.service" for name in names if name)


def _initrd(uki: Uki) -> FileTree | None:
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
