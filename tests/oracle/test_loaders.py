"""systemd-repart and mtools over the partitions and steps of boot paths without a UKI."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import pytest

from tests.support.plans import selftest_recipe
from tests.support.tools_tree import Oracle

GRUB = bytes(range(256)) * 1200


def kernel() -> bytes:
    data = bytearray(0x30000)
    struct.pack_into(">Q", data, 0x10430, 4096)
    return bytes(data)


@pytest.mark.parametrize(
    ("target", "arch"), [("debian-12/none/libvirt:s390x", "s390x"), ("debian-12/none/powervs:ppc64le", "ppc64-le")]
)
def test_partitions_are_made_and_filled(target: str, arch: str, tmp_path: Path) -> None:
    oracle = Oracle(tmp_path)
    oracle.path("/usr/bin/systemd-repart")
    for path, file in selftest_recipe(target).items():
        if path.startswith(("mkosi.repart/", "mkosi.postoutput")):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_bytes(file.data)
    (tmp_path / "root/boot").mkdir(parents=True)
    (tmp_path / "root/boot/podvm-grub.elf").write_bytes(GRUB)
    (tmp_path / "root/file").write_text("of the root")
    out = tmp_path / "out"
    out.mkdir()
    (out / "image.vmlinuz").write_bytes(kernel())
    (out / "image.initrd").write_bytes(b"initrd" * 1000)
    (tmp_path / "config.json").write_text(json.dumps({"KernelCommandLine": ["panic=1"]}))
    words = ["--empty=create", "--size=auto", "--dry-run=no", "--json=short", "--offline=yes", f"--architecture={arch}"]
    places = ["--root=/mnt/x/root", "--definitions=/mnt/x/mkosi.repart", "/mnt/x/out/image.raw"]
    partitions = json.loads(oracle.run("/usr/bin/systemd-repart", *words, *places))
    (root_hash,) = {row["roothash"] for row in partitions if re.fullmatch(r"[0-9a-f]{64}", row.get("roothash") or "")}
    assert {f"root-{arch}", f"root-{arch}-verity"} <= {row["type"] for row in partitions}
    env = ["OUTPUTDIR=/mnt/x/out", "MKOSI_CONFIG=/mnt/x/config.json", "SRCDIR=/mnt/x"]
    oracle.run("/usr/bin/env", *env, "python3", "/mnt/x/mkosi.postoutput")
    disk = (out / "image.raw").read_bytes()
    text = f"roothash={root_hash} panic=1"
    if arch == "s390x":
        assert disk[:4] == b"zIPL"
        assert disk.count(text.encode() + b"\0") == 1
        return
    (prep, boot) = (row for row in partitions if row["label"] in ("podvm-prep", "podvm-boot"))
    assert disk[prep["offset"] : prep["offset"] + len(GRUB)] == GRUB
    drive = f"/mnt/x/out/image.raw@@{boot['offset']}"
    written = oracle.run("/usr/bin/mtype", "-i", drive, "::/podvm.cfg").decode()
    assert written == f"linux /vmlinuz {text}\ninitrd /initrd\nboot\n"
    assert oracle.run("/usr/bin/mtype", "-i", drive, "::/vmlinuz") == kernel()
