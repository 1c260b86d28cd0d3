"""A whole disk image in which lint finds nothing: squashfs, dm-verity, initrd and UKI, small and made at once."""

from __future__ import annotations

import struct
import uuid
from functools import cache

from podvm_builder.catalog.load import catalogue
from podvm_builder.formats.readers import BytesReader
from podvm_builder.formats.verity import MAGIC, parse_verity, root_hash
from tests.support.disk import ESP, ROOT, build_disk, build_fat
from tests.support.lint_subjects import INITRD, MODULES, MemoryFile, good_files
from tests.support.pe import build_uki
from tests.support.trees import Files, Moded, Program, build_cpio, build_squashfs

HASHES = uuid.UUID("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5")
SALT = bytes(range(32))


@cache
def clean_image(extra: bytes = b"", *, setuid: bool = False) -> tuple[bytes, bytes, str]:
    """Return a disk, the UKI in it, and its root hash.

    Args:
        extra: content of a file more, for another image of the same kind.
        setuid: whether there is a program with the set-user-ID bit, which lint finds.
    """
    more = {"usr/lib/extra": MemoryFile(data=extra)}
    if setuid:
        more["usr/bin/su"] = MemoryFile(data=b"su", mode=0o4755)
    root = build_squashfs(_plain({**good_files(), **more, **_drivers()}))
    root += bytes(-len(root) % 4096)
    hashes = verity_super(len(root) // 4096)
    found = root_hash(BytesReader(root), parse_verity(BytesReader(hashes)))
    digest = found.hex()
    initrd = build_cpio(_plain({**INITRD, **_drivers()}))
    words = f"roothash={digest} quiet systemd.getty_auto=no systemd.import_credentials=no"
    uki = build_uki(cmdline=words.encode(), initrd=initrd)
    esp = build_fat({"EFI/BOOT/BOOTX64.EFI": uki}, bits=12, cluster=8)
    ids = {ROOT: uuid.UUID(bytes=found[:16]), HASHES: uuid.UUID(bytes=found[16:])}
    return build_disk([(ESP, esp), (ROOT, root), (HASHES, hashes)], ids=ids), uki, digest


def verity_super(blocks: int, *, salt: bytes = SALT) -> bytes:
    """Return a hash partition that has nothing but its superblock."""
    head = struct.pack("<8sII16s32sIIQH6x", MAGIC, 1, 1, bytes(16), b"sha256", 4096, 4096, blocks, len(salt))
    return (head + salt).ljust(4096, b"\0")


def _drivers() -> dict[str, MemoryFile]:
    """Return every driver that some target needs."""
    known = catalogue()
    paths = {path for tee in known.tees.values() for path in tee.drivers}
    for cloud in known.clouds.values():
        paths |= {*cloud.drivers.disk, *cloud.drivers.network}
    return {f"{MODULES}/kernel/{path.partition('|')[0]}.ko": MemoryFile(data=b"module") for path in paths}


def _plain(files: dict[str, MemoryFile]) -> Files:
    """Return files as those who build file systems take them; folders come by themselves."""
    made: dict[str, bytes | str] = {}
    for path, file in files.items():
        if file.target is not None:
            made[path] = file.target
        elif not file.folder:
            whole = file.mode in (0o644, 0o755)
            made[path] = Moded.of(file.data, file.mode) if not whole else file.data
            if file.mode == 0o755:
                made[path] = Program(file.data)
    return made
