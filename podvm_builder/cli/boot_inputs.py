"""What is booted, as the options of ``measure`` name it: a disk image or a UKI, told apart by their first bytes."""

from __future__ import annotations

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.uki import CODE
from podvm_builder.model.reader import BinaryReader

_TABLE = b"EFI PART"
_SECTORS = (512, 4096)
"""Where a GUID partition table starts, by the size of a disk's sectors (UEFI 2.10 §5.3.2)."""


def check_kind(reader: BinaryReader, *, uki: bool, code: str) -> None:
    """Refuse a disk where ``--uki`` was given, and an EFI application where ``--image`` was.

    Args:
        reader: what was given.
        uki: which of the two options it was given with.
        code: of the error about the wrong option.

    Raises:
        InputError: the other option takes it.
        FormatError: PVB241, it is neither a UKI nor a disk, and was given as a UKI.
    """
    program = reader.read_at(0, min(2, reader.size)) == b"MZ"
    if program and not uki:
        raise InputError("an EFI application where a disk image is wanted", code=code, hint="give a UKI with `--uki`")
    if program or not uki:
        return
    for at in _SECTORS:
        if reader.size >= at + len(_TABLE) and reader.read_at(at, len(_TABLE)) == _TABLE:
            raise InputError("a disk image where a UKI is wanted", code=code, hint="give it with `--image`")
    raise FormatError(
        "no UKI: it is not an EFI application, which starts with `MZ`",
        0,
        code=CODE,
        hint="give the image.efi of a build",
    )
