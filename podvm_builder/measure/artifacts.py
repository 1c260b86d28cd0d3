"""What a machine boots, found inside a disk image or given as a lone UKI. Nothing is mounted."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from podvm_builder.errors import FormatError
from podvm_builder.formats.fat import FatFilesystem
from podvm_builder.formats.gpt import Gpt, esp, parse_gpt
from podvm_builder.formats.pe import parse_pe
from podvm_builder.formats.readers import read_all
from podvm_builder.formats.uki import Uki, parse_uki, section_content
from podvm_builder.measure.sidecars import EspFile, Folders, all_paths
from podvm_builder.model.reader import BinaryReader

CODE = "PVB245"
REMOVABLE_PATHS = {"x86_64": "EFI/BOOT/BOOTX64.EFI", "aarch64": "EFI/BOOT/BOOTAA64.EFI"}
"""What firmware starts from an EFI system partition without boot entries (UEFI 2.10 §3.5.1.1)."""

SYSTEMD_BOOT = "systemd-boot"
SHIM = "shim"
GRUB = "GRUB"

_FOREIGN_DISKS = {b"KDMV": "VMDK", b"conectix": "VHD", b"vhdxfile": "VHDX"}
_LOADER_MAGIC = re.compile(rb"#### LoaderInfo: systemd-boot ([0-9]+)[^#]* ####")
_SBAT = {"shim": SHIM, "grub": GRUB, "systemd-boot": SYSTEMD_BOOT}
_CONF_MEASURED = 256
"""systemd-boot from which on it is taken for certain that it measures loader.conf; 251 does not."""
_MAX_CONF = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BootLoader:
    """systemd-boot, where it stands between firmware and UKI."""

    path: str
    reader: BinaryReader
    version: int | None
    conf: bytes | None
    """``loader/loader.conf``; None where there is none."""
    doubts: Mapping[int, str]
    """PCRs that it leaves unpredictable, with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootArtifacts:
    """The parts of an image that are measured when it boots."""

    uki: Uki
    gpt: Gpt | None
    """The disk's partition table; None for a lone UKI."""
    folders: Folders = field(default_factory=Folders)
    """What systemd-stub reads beside the UKI: addons, credentials, extensions."""
    loader: BootLoader | None = None

    @property
    def extras(self) -> tuple[str, ...]:
        """Paths in the EFI system partition that systemd-stub reads beside the UKI."""
        return tuple(all_paths(self.folders))

    @property
    def credentials(self) -> tuple[str, ...]:
        """Names of the credentials' files that systemd-stub hands over."""
        files = (*self.folders.credentials, *self.folders.own)
        return tuple(file.name for file in files if file.name.lower().endswith(".cred"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignBoot:
    """An image that starts with a boot loader whose measurements are not settled by the image alone."""

    loader: str
    """:data:`SHIM` or :data:`GRUB`."""
    path: str
    gpt: Gpt


def read_boot_artifacts(reader: BinaryReader, *, arch: str = "x86_64") -> BootArtifacts:
    """Find the UKI that is booted in a raw disk image, or take the input itself where it is a PE file.

    Args:
        reader: a raw disk image or a UKI.
        arch: ``x86_64`` or ``aarch64``; decides which file firmware starts.

    Raises:
        FormatError: neither; a damaged partition table or file system; no UKI where firmware looks, or not one alone
            where systemd-boot does.
    """
    found = find_boot(reader, arch=arch)
    if isinstance(found, ForeignBoot):
        raise FormatError(
            f"EFI system partition: `{found.path}` is {found.loader}: what it starts is not settled by the image",
            code=CODE,
        )
    return found


def find_boot(reader: BinaryReader, *, arch: str = "x86_64") -> BootArtifacts | ForeignBoot:
    """Do what :func:`read_boot_artifacts` does, and name shim and GRUB instead of refusing them."""
    head = reader.read_at(0, min(8, reader.size))
    for magic, name in _FOREIGN_DISKS.items():
        if head.startswith(magic):
            raise FormatError(
                f"disk image: {name}, where a raw or qcow2 image is wanted",
                0,
                code=CODE,
                hint="qemu-img convert -O raw IMAGE image.raw",
            )
    if head[:2] == b"MZ":
        return BootArtifacts(uki=parse_uki(reader), gpt=None)
    gpt = parse_gpt(reader)
    filesystem = FatFilesystem(esp(reader, gpt))
    path = REMOVABLE_PATHS[arch]
    entry = filesystem.find(path)
    if entry is None or entry.is_folder:
        raise FormatError(f"EFI system partition: no `{path}`", code=CODE)
    program = filesystem.open(entry)
    kind, version = _identify(path, program)
    if kind in (SHIM, GRUB):
        return ForeignBoot(loader=kind, path=path, gpt=gpt)
    loader = None
    if kind == SYSTEMD_BOOT:
        loader = _loader(filesystem, path, program, version)
        path = _chosen(filesystem, loader.conf or b"")
        entry = filesystem.find(path)
        assert entry is not None  # noqa: S101 - it was listed
        program = filesystem.open(entry)
    try:
        uki = parse_uki(program)
    except FormatError as error:
        raise FormatError(f"EFI system partition: `{path}`: {error.message}", code=error.code) from error
    folders = Folders(
        addons=_files(filesystem, "loader/addons"),
        credentials=_files(filesystem, "loader/credentials"),
        extensions=_files(filesystem, "loader/extensions"),
        own=_files(filesystem, f"{path}.extra.d"),
    )
    return BootArtifacts(uki=uki, gpt=gpt, folders=folders, loader=loader)


def _identify(path: str, program: BinaryReader) -> tuple[str, int | None]:
    """Name a program by what it says of itself: empty, with or without a version, where that is nothing known."""
    try:
        image = parse_pe(program)
    except FormatError as error:
        raise FormatError(f"EFI system partition: `{path}`: {error.message}", code=error.code) from error
    if image.section(".linux") is not None:
        return "", None
    texts = {}
    for name in (".sdmagic", ".sbat"):
        section = image.section(name)
        if section is not None and 0 < section.virtual_size <= 1 << 16:
            texts[name] = read_all(section_content(program, section))
    magic = _LOADER_MAGIC.search(texts.get(".sdmagic", b""))
    if magic:
        return SYSTEMD_BOOT, int(magic[1])
    components = [line.split(b",")[0].decode("latin-1") for line in texts.get(".sbat", b"").split(b"\n")]
    return next((_SBAT[name] for name in components if name in _SBAT), ""), None


def _loader(filesystem: FatFilesystem, path: str, program: BinaryReader, version: int | None) -> BootLoader:
    doubts: dict[int, str] = {}
    conf = _read(filesystem, "loader/loader.conf")
    if version is None or version < _CONF_MEASURED:
        said = f"systemd-boot {version or 'of an unknown version'}"
        if conf is not None:
            doubts[5] = f"{said}: whether it measures loader.conf is not settled here"
        doubts |= dict.fromkeys((9, 12), f"{said}: whether it hands over a command line is not settled here")
    if filesystem.list("EFI/systemd/drivers"):
        doubts |= dict.fromkeys((2, 4), "systemd-boot loads drivers of the partition; their order is not settled here")
    return BootLoader(path=path, reader=program, version=version, conf=conf, doubts=doubts)


def _chosen(filesystem: FatFilesystem, conf: bytes) -> str:
    """Return the UKI that systemd-boot starts if nobody chooses: the only one, or the one that `default` names.

    Specification: UAPI Group "Boot Loader Specification" (type 2 entries), loader.conf(5).
    """
    ukis = [entry.name for entry in filesystem.list("EFI/Linux") if entry.name.lower().endswith(".efi")]
    written = [entry.name for entry in filesystem.list("loader/entries") if entry.name.lower().endswith(".conf")]
    candidates = ukis
    if len(ukis) + len(written) != 1:
        pattern = _default(conf)
        candidates = [name for name in ukis if pattern and fnmatch.fnmatchcase(name.lower(), pattern)]
        if any(fnmatch.fnmatchcase(name.lower(), pattern) for name in written):
            candidates = []
    if len(candidates) != 1:
        raise FormatError(
            f"EFI system partition: systemd-boot has {len(ukis)} UKIs and {len(written)} other entries, "
            "and no `default` that names one UKI",
            code="PVB254",
        )
    return f"EFI/Linux/{candidates[0]}"


def _default(conf: bytes) -> str:
    found = ""
    for line in conf.decode("utf-8", "replace").splitlines():
        key, _, value = line.strip().partition(" ")
        if key == "default":
            found = value.strip().lower()
    return found


def _read(filesystem: FatFilesystem, path: str) -> bytes | None:
    entry = filesystem.find(path)
    if entry is None or entry.is_folder:
        return None
    if entry.size > _MAX_CONF:
        raise FormatError(f"EFI system partition: `{path}` has {entry.size} bytes", code=CODE)
    return read_all(filesystem.open(entry))


def _files(filesystem: FatFilesystem, folder: str) -> tuple[EspFile, ...]:
    return tuple(
        EspFile(path=f"{folder}/{entry.name}", reader=filesystem.open(entry))
        for entry in filesystem.list(folder)
        if not entry.is_folder
    )
