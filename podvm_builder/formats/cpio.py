"""cpio archives in "newc" form, as systemd-stub makes them for the initrd.

Specification: Linux ``Documentation/driver-api/early-userspace/buffer-format.rst``. The stub's habits, checked against
TPMs: inode numbers count from 1, owner, group and time are 0, one link each, lower-case hexadecimal, and a constant
trailer of 124 bytes whose name length alone is in upper case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_DIRECTORY = 0o040000
_REGULAR = 0o100000
_TRAILER = (
    b"070701" + b"00000000" * 4 + b"00000001" + b"00000000" * 6 + b"0000000B" + b"00000000" + b"TRAILER!!!" + bytes(4)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpioFile:
    """One file below the archive's folder."""

    name: str
    data: bytes
    mode: int = 0o444


def pad4(length: int) -> int:
    """Return how many bytes are missing to a multiple of 4."""
    return -length % 4


def stub_archive(folder: str, files: Sequence[CpioFile], *, folder_mode: int = 0o555) -> bytes:
    """Return the archive that systemd-stub packs: a folder with those above it, its files, the trailer.

    Args:
        folder: a path, e.g. ``.extra`` or ``.extra/credentials``.
        files: what stands in it, in order.
        folder_mode: permission bits of the folder; those above it have 0555.
    """
    names = folder.split("/")
    above = ["/".join(names[:depth]) for depth in range(1, len(names))]
    entries = [(_DIRECTORY | 0o555, path, b"") for path in above]
    entries.append((_DIRECTORY | folder_mode, folder, b""))
    entries += [(_REGULAR | file.mode, f"{folder}/{file.name}", file.data) for file in files]
    return b"".join(_entry(number, *entry) for number, entry in enumerate(entries, start=1)) + _TRAILER


def _entry(inode: int, mode: int, name: str, data: bytes) -> bytes:
    path = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + path
    return head + bytes(pad4(len(head))) + data + bytes(pad4(len(data)))
