"""Changes to a built image, and what a host may say to its guest, each on a copy, for a boot that shows the effect."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from podvm_builder.formats.gpt import ESP, Gpt, Partition, parse_gpt
from podvm_builder.tools.files import FileReader
from tests.support.tools_tree import Oracle

MARK = "podvm-tampered"
"""What a credential that takes effect makes the guest print on its console."""

_UKI = "EFI/BOOT/BOOTX64.EFI"
_READ_IT = "io.systemd.stub.kernel-cmdline-extra=modules-load=xfs"
_ALLOW = "io.systemd.stub.kernel-cmdline-extra=systemd.import_credentials=yes"
_DROP_IN = f"""\
[Service]
ExecStartPre=/bin/sh -c 'echo {MARK} by drop-in >/dev/ttyS0'
"""
_CREDENTIAL = "systemd.unit-dropin.agent-protocol-forwarder.service"

Change = Callable[[Path, Oracle], Sequence[str]]
"""Changes the build output in a folder, and returns the options that `boot` is called with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way to tamper, and what is to come of it."""

    name: str
    what: str
    """For the table in the documents."""
    change: Change
    fails: bool = False
    """The image does not come up."""
    registers: frozenset[int] = frozenset()
    """PCRs that differ from the prediction; none where it comes up without effect."""
    acts: bool = False
    """The guest prints :data:`MARK`."""
    predicted: bool = False
    """`measure tpm` of the changed disk gives the values that the TPM then holds."""
    note: str = ""


# --- the disk


def _partitions(disk: Path) -> Gpt:
    with FileReader(disk) as reader:
        return parse_gpt(reader)


def _partition(disk: Path, name: str) -> Partition:
    return next(partition for partition in _partitions(disk).partitions if partition.name == name)


def _flip(disk: Path, offset: int) -> None:
    with disk.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def _root(folder: Path) -> Partition:
    return _partition(folder / "image.raw", "root-x86-64")


def _superblock(folder: Path, _tools: Oracle) -> Sequence[str]:
    _flip(folder / "image.raw", _root(folder).offset + 8)
    return ()


INSIDE = 320 << 10
"""More than the kernel reads ahead, less than the module takes."""


def unread_offset(folder: Path, tools: Oracle) -> int:
    """Return where in the disk some data of a file lies that no boot reads: the largest kernel module, xfs.

    Its data begins where halving finds it. Around that edge the kernel reads ahead, so the place is well inside.
    """
    disk = folder / "image.raw"
    root = _root(folder)
    with disk.open("rb") as file:
        file.seek(root.offset)
        whole = file.read(root.size)
    names = _unsquashfs(tools, folder, whole, "-l").decode().splitlines()
    module = next(name.partition("/")[2] for name in names if name.endswith("/xfs.ko"))
    content = _unsquashfs(tools, folder, whole, "-cat", module)

    def holds(start: int, end: int) -> bool:
        """Whether some of the file's data lies there: without it, the file cannot be read."""
        lost = whole[:start] + bytes(end - start) + whole[end:]
        return _unsquashfs(tools, folder, lost, "-cat", module) != content

    (high,) = struct.unpack_from("<Q", whole, 64)  # the inodes: what stands before them is data
    # the superblock is followed by the options of the compressor, without which nothing can be read
    low = 512
    while high - low > 4096:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(low, middle) else (middle, high)
    inner = low + INSIDE
    assert holds(inner, inner + 4096)
    return root.offset + inner + 2048


def _unsquashfs(tools: Oracle, folder: Path, image: bytes, option: str, *names: str) -> bytes:
    (folder / "root.squashfs").write_bytes(image)
    try:
        arguments = [option, "root.squashfs", *names]
        return tools.attempt("/usr/bin/unsquashfs", *arguments).stdout
    finally:
        (folder / "root.squashfs").unlink()


def _unread(folder: Path, tools: Oracle) -> Sequence[str]:
    _flip(folder / "image.raw", unread_offset(folder, tools))
    return ()


def _unread_then_read(folder: Path, tools: Oracle) -> Sequence[str]:
    _unread(folder, tools)
    return ("--smbios", _READ_IT)


def _hash_tree(folder: Path, _tools: Oracle) -> Sequence[str]:
    # the block behind the verity superblock is the root of the tree
    _flip(folder / "image.raw", _partition(folder / "image.raw", "root-x86-64-verity").offset + 4096 + 8)
    return ()


def _section(folder: Path, _tools: Oracle) -> Sequence[str]:
    disk = folder / "image.raw"
    # .osrel: nothing that the boot depends on, but the stub measures it, and hands it on to the initrd
    _flip(disk, disk.read_bytes().index(b"PRETTY_NAME=") + 14)
    return ()


def _grown(folder: Path, _tools: Oracle) -> Sequence[str]:
    with (folder / "image.raw").open("r+b") as file:
        file.truncate((folder / "image.raw").stat().st_size + (64 << 20))
    return ()


def _grown_with_its_table(folder: Path, tools: Oracle) -> Sequence[str]:
    """Grow the disk and move the backup table to its new end, as cloud tools and growpart do."""
    _grown(folder, tools)
    disk = folder / "image.raw"
    last = disk.stat().st_size // 512 - 1
    with disk.open("r+b") as file:
        file.seek(512)
        header = bytearray(file.read(92))
        file.seek(struct.unpack_from("<Q", header, 72)[0] * 512)
        table = file.read(128 * 128)
        struct.pack_into("<QQQ", header, 24, 1, last, struct.unpack_from("<Q", header, 40)[0])
        struct.pack_into("<Q", header, 48, last - 33)
        file.seek(512)
        file.write(_sealed(header))
        struct.pack_into("<QQ", header, 24, last, 1)
        struct.pack_into("<Q", header, 72, last - 32)
        file.seek((last - 32) * 512)
        file.write(table + _sealed(header))
    return ()


def _sealed(header: bytearray) -> bytes:
    struct.pack_into("<I", header, 16, 0)
    struct.pack_into("<I", header, 16, zlib.crc32(header))
    return bytes(header)


# --- the EFI system partition


def _esp(folder: Path) -> tuple[str, str]:
    partition = next(one for one in _partitions(folder / "image.raw").partitions if one.type == ESP)
    return "-i", f"image.raw@@{partition.offset}"


def take(folder: Path, tools: Oracle, path: str) -> None:
    """Remove a file from the EFI system partition of a folder's disk."""
    tools.run("/usr/bin/mdel", *_esp(folder), f"::/{path}")


def put(folder: Path, tools: Oracle, path: str, data: bytes) -> None:
    """Write a file into the EFI system partition of a folder's disk, with the folders above it."""
    disk = _esp(folder)
    names = path.split("/")
    for depth in range(1, len(names)):
        tools.attempt("/usr/bin/mmd", *disk, "-D", "s", "::/" + "/".join(names[:depth]))
    (folder / "added").write_bytes(data)
    tools.run("/usr/bin/mcopy", *disk, "-o", "added", f"::/{path}")
    (folder / "added").unlink()


def addon(folder: Path, tools: Oracle, cmdline: str) -> bytes:
    """Return a UKI addon with a command line, made by ukify."""
    tools.run("/usr/bin/ukify", "build", "--cmdline", cmdline, "--output", "made.efi")
    data = (folder / "made.efi").read_bytes()
    (folder / "made.efi").unlink()
    return data


def _addon(folder: Path, tools: Oracle) -> Sequence[str]:
    put(folder, tools, "loader/addons/extra.addon.efi", addon(folder, tools, "podvm.extra=1"))
    return ()


def _esp_credential(folder: Path, tools: Oracle) -> Sequence[str]:
    put(folder, tools, f"loader/credentials/{_CREDENTIAL}.cred", _DROP_IN.encode())
    return ()


def _extension(folder: Path, tools: Oracle) -> Sequence[str]:
    put(folder, tools, f"{_UKI}.extra.d/extra.sysext.raw", b"no extension at all")
    return ()


def _entry(folder: Path, tools: Oracle) -> Sequence[str]:
    put(folder, tools, "loader/entries/other.conf", b"title other\nefi /EFI/other.efi\noptions single\n")
    return ()


# --- what the host says


def _cmdline(_folder: Path, _tools: Oracle) -> Sequence[str]:
    return ("--smbios", "io.systemd.stub.kernel-cmdline-extra=podvm.extra=1")


def _smbios_credential(_folder: Path, _tools: Oracle) -> Sequence[str]:
    encoded = base64.b64encode(_DROP_IN.encode()).decode()
    return ("--smbios", f"io.systemd.credential.binary:{_CREDENTIAL}={encoded}")


def _fw_cfg_credential(_folder: Path, _tools: Oracle) -> Sequence[str]:
    # fw_cfg has no room for the name of a drop-in; this one has systemd-tmpfiles write to the console, as root
    return ("--fw-cfg", f"opt/io.systemd.credentials/tmpfiles.extra=w /dev/ttyS0 - - - - {MARK} by tmpfiles\\n")


def _allowed_credential(folder: Path, tools: Oracle) -> Sequence[str]:
    return (*_smbios_credential(folder, tools), "--smbios", _ALLOW)


CASES = (
    Case(name="root-block", what="a byte of a root block that the boot reads", change=_superblock, fails=True),
    Case(
        name="unread-block",
        what="a byte of a root block that the boot does not read",
        change=_unread,
        note="nothing came of it: the block is refused when it is read, see the next row",
    ),
    Case(
        name="unread-block-read",
        what="the same, and then the file that it is part of is read",
        change=_unread_then_read,
        fails=True,
        note="dm-verity stops the kernel; the request to load the module that it is part of came by SMBIOS",
    ),
    Case(name="hash-tree", what="a byte of the hash tree's root block", change=_hash_tree, fails=True),
    Case(
        name="uki-section",
        what="a byte of a measured UKI section (.osrel)",
        change=_section,
        registers=frozenset({4, 9, 11}),
        predicted=True,
    ),
    Case(
        name="cmdline-smbios",
        what="command line by SMBIOS (`io.systemd.stub.kernel-cmdline-extra`)",
        change=_cmdline,
        registers=frozenset({9, 12}),
    ),
    Case(
        name="addon",
        what="addon with a command line on the EFI system partition",
        change=_addon,
        registers=frozenset({4, 9, 12}),
        predicted=True,
    ),
    Case(
        name="credential-esp",
        what="credential on the EFI system partition",
        change=_esp_credential,
        registers=frozenset({9, 12}),
        predicted=True,
    ),
    Case(
        name="extension-esp",
        what="system extension on the EFI system partition",
        change=_extension,
        registers=frozenset({9, 13}),
        predicted=True,
    ),
    Case(
        name="loader-entry",
        what="boot loader entry on the EFI system partition",
        change=_entry,
        note="nobody reads it: the firmware starts the UKI itself",
    ),
    Case(
        name="grown",
        what="a longer disk with its partition table as it was",
        change=_grown,
        note="the table that is measured does not change",
    ),
    Case(
        name="grown-table",
        what="a longer disk whose partition table was fitted to it",
        change=_grown_with_its_table,
        registers=frozenset({5}),
        predicted=True,
    ),
    Case(
        name="credential-smbios",
        what="credential by SMBIOS: a drop-in that runs a program as root",
        change=_smbios_credential,
        note="the image does not import credentials (`systemd.import_credentials=no`)",
    ),
    Case(
        name="credential-fw-cfg",
        what="credential by fw_cfg: a line for systemd-tmpfiles, which acts as root",
        change=_fw_cfg_credential,
        note="the image does not import credentials, and its kernel has no driver for fw_cfg",
    ),
    Case(
        name="credential-allowed",
        what="credential by SMBIOS, and a command line by SMBIOS that allows its import",
        change=_allowed_credential,
        registers=frozenset({9, 12}),
        acts=True,
        note="the program runs: this is what the import being off prevents",
    ),
)
