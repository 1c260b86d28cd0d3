"""What a machine boots, found inside a disk image or given as a lone UKI. Nothing is mounted."""

from __future__ import annotations

from dataclasses import dataclass

from podvm_builder.errors import FormatError
from podvm_builder.formats.fat import FatFilesystem
from podvm_builder.formats.gpt import Gpt, esp, parse_gpt
from podvm_builder.formats.uki import Uki, parse_uki
from podvm_builder.model.reader import BinaryReader

CODE = "PVB245"
REMOVABLE_PATHS = {"x86_64": "EFI/BOOT/BOOTX64.EFI", "aarch64": "EFI/BOOT/BOOTAA64.EFI"}
"""What firmware starts from an EFI system partition without boot entries (UEFI 2.10 §3.5.1.1)."""

_GLOBAL_EXTRAS = ("loader/addons", "loader/credentials", "loader/extensions")
_FOREIGN = {b"QFI\xfb": "qcow2", b"KDMV": "VMDK", b"conectix": "VHD", b"vhdxfile": "VHDX"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BootArtifacts:
    """The parts of an image that are measured when it boots."""

    uki: Uki
    gpt: Gpt | None
    """The disk's partition table; None for a lone UKI."""
    extras: tuple[str, ...]
    """Paths in the EFI system partition that systemd-stub reads beside the UKI: addons, credentials, extensions."""


def read_boot_artifacts(reader: BinaryReader, *, arch: str = "x86_64") -> BootArtifacts:
    """Find what is booted in a raw disk image, or take the input itself where it is a PE file.

    Args:
        reader: a raw disk image or a UKI.
        arch: ``x86_64`` or ``aarch64``; decides which file firmware starts.

    Raises:
        FormatError: neither; a damaged partition table or file system; no UKI where firmware looks.
    """
    head = reader.read_at(0, min(8, reader.size))
    for magic, name in _FOREIGN.items():
        if head.startswith(magic):
            raise FormatError(
                f"disk image: {name}, where a raw image is wanted",
                0,
                code=CODE,
                hint="qemu-img convert -O raw IMAGE image.raw",
            )
    if head[:2] == b"MZ":
        return BootArtifacts(uki=parse_uki(reader), gpt=None, extras=())
    gpt = parse_gpt(reader)
    filesystem = FatFilesystem(esp(reader, gpt))
    path = REMOVABLE_PATHS[arch]
    entry = filesystem.find(path)
    if entry is None or entry.is_folder:
        raise FormatError(f"EFI system partition: no `{path}`", code=CODE)
    try:
        uki = parse_uki(filesystem.open(entry))
    except FormatError as error:
        raise FormatError(f"EFI system partition: `{path}`: {error.message}", code=error.code) from error
    return BootArtifacts(uki=uki, gpt=gpt, extras=_extras(filesystem, path))


def _extras(filesystem: FatFilesystem, path: str) -> tuple[str, ...]:
    return tuple(
        f"{folder}/{entry.name}"
        for folder in (*_GLOBAL_EXTRAS, f"{path}.extra.d")
        for entry in filesystem.list(folder)
        if not entry.is_folder
    )
