"""Boot paths without a UKI, under QEMU's firmware: a kernel of Debian 12 starts with the root hash in its command line.

The disks hold what the recipes' own steps put there: a boot record for IBM Z, GRUB and its configuration for Power.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
import uuid
import zlib
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.debian import command, unpacked
from tests.support.plans import selftest_recipe

pytestmark = pytest.mark.e2e

HASH = "00112233445566778899aabbccddeeffffeeddccbbaa99887766554433221100"
INIT = b"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
echo "BOOTED WITH: $(/bin/busybox cat /proc/cmdline)"
/bin/busybox poweroff -f
"""
BLOCK = 512
PREP = uuid.UUID("9e1a2d38-c612-4316-aa26-8b49521e5a8b")


def script(target: str, name: str, folder: Path) -> ModuleType:
    path = folder / f"{name.partition('.')[2]}.py"
    path.write_bytes(selftest_recipe(target)[name].data)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kernel_package(arch: str, flavour: str) -> tuple[Path, Path]:
    """Return a kernel of Debian 12 and a BusyBox of an architecture."""
    meta = unpacked((f"linux-image-{flavour}",), "bookworm", arch)
    (notes,) = (meta / "usr/share/doc").glob("linux-image-*")  # a link to those of the newest kernel's package
    folder = unpacked((notes.readlink().name, "busybox-static"), "bookworm", arch)
    (kernel,) = (folder / "boot").glob("vmlinu*")
    return kernel, folder / "bin/busybox"


def write_disk(path: Path, parts: list[tuple[uuid.UUID, uuid.UUID, bytes]], total: int) -> None:
    """Write a disk with a GPT (UEFI 2.10, section 5.3): type, identity and content of each partition."""
    table, content, block = b"", [], 2048
    for kind, own, data in parts:
        blocks = -(-len(data) // BLOCK)
        table += struct.pack("<16s16sQQQ72s", kind.bytes_le, own.bytes_le, block, block + blocks - 1, 0, b"")
        content.append((block, data))
        block += -(-blocks // 2048) * 2048
    table = table.ljust(128 * 128, b"\0")

    def header(checksum: int) -> bytes:
        numbers = (0x10000, 92, checksum, 0, 1, total - 1, 34, total - 34, b"\1" * 16, 2, 128, 128, zlib.crc32(table))
        return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", *numbers)

    with path.open("wb") as disk:
        disk.truncate(total * BLOCK)
        mbr = struct.pack("<446xB3sB3sII48x2s", 0, b"\0\2\0", 0xEE, b"\xff" * 3, 1, total - 1, b"\x55\xaa")
        disk.write(mbr + header(zlib.crc32(header(0))))
        disk.seek(2 * BLOCK)
        disk.write(table)
        for start, data in content:
            disk.seek(start * BLOCK)
            disk.write(data)


def prepare(folder: Path, finalize: ModuleType, kernel: Path, busybox: Path, words: list[str]) -> Path:
    """Write kernel, initrd and configuration as mkosi leaves them to the last step, and return its output folder."""
    out = folder / "out"
    out.mkdir()
    entries = [("bin", 0o040755, b""), ("bin/busybox", 0o100755, busybox.read_bytes()), ("dev", 0o040755, b"")]
    (out / "image.initrd").write_bytes(finalize.cpio([*entries, ("init", 0o100755, INIT)], 0))
    (out / "image.vmlinuz").write_bytes(kernel.read_bytes())
    (folder / "config.json").write_text(json.dumps({"KernelCommandLine": words}))
    return out


def finish(folder: Path, path: str = os.environ["PATH"]) -> None:
    """Run the last step."""
    env = {"OUTPUTDIR": str(folder / "out"), "MKOSI_CONFIG": str(folder / "config.json"), "SRCDIR": str(folder)}
    subprocess.run([sys.executable, folder / "postoutput.py"], env={**env, "PATH": path}, check=True)


def boot(program: str, package: str, machine: list[str], disk: Path) -> str:
    """Return what the machine says."""
    qemu = command(f"usr/bin/{program}", (package, "qemu-system-data"))
    data = Path(qemu[-1]).parents[1] / "share/qemu"
    args = [
        "-L",
        data,
        *machine,
        "-m",
        "1024",
        "-display",
        "none",
        "-no-reboot",
        "-monitor",
        "none",
        "-serial",
        "stdio",
    ]
    drive = f"if=none,id=d,file={disk},format=raw,snapshot=on"
    done = subprocess.run(
        [*qemu, *args, "-no-reboot", "-nic", "none", "-drive", drive],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=False,
    )
    return (done.stdout + done.stderr).decode(errors="replace")


def halves() -> tuple[uuid.UUID, uuid.UUID]:
    return uuid.UUID(HASH[:32]), uuid.UUID(HASH[32:])


def test_the_boot_record_starts_a_kernel_of_ibm_z(tmp_path: Path) -> None:
    target = "debian-12/none/libvirt:s390x"
    finalize, last = (script(target, name, tmp_path) for name in ("mkosi.finalize", "mkosi.postoutput"))
    kernel, busybox = kernel_package("s390x", "s390x")
    out = prepare(tmp_path, finalize, kernel, busybox, ["console=ttysclp0", "panic=1"])
    data, hashes = halves()
    parts = [(last.GENERIC, uuid.uuid4(), bytes(64 << 20)), (last.ROOT, data, b"d"), (last.VERITY, hashes, b"h")]
    write_disk(out / "image.raw", parts, 80 << 11)
    finish(tmp_path)
    machine = ["-M", "s390-ccw-virtio", "-device", "virtio-blk-ccw,drive=d,bootindex=1"]
    said = boot("qemu-system-s390x", "qemu-system-s390x", machine, out / "image.raw")
    assert f"BOOTED WITH: roothash={HASH} console=ttysclp0 panic=1" in said, said[-3000:]


def test_grub_starts_a_kernel_of_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = "debian-12/none/powervs:ppc64le"
    finalize, last = (script(target, name, tmp_path) for name in ("mkosi.finalize", "mkosi.postoutput"))
    kernel, busybox = kernel_package("ppc64el", "powerpc64le")
    out = prepare(tmp_path, finalize, kernel, busybox, ["console=hvc0", "panic=1"])
    root = tmp_path / "root"
    shutil.copytree(unpacked(("grub-ieee1275-bin",), "bookworm", "ppc64el") / "usr/lib/grub", root / "usr/lib/grub")
    for path in ("usr/bin/grub-mkimage", "boot/x"):
        (root / path).parent.mkdir(parents=True)
        (root / path).touch()
    mkimage = command("usr/bin/grub-mkimage", ("grub-common",), "bookworm")
    run = subprocess.run

    def chroot(args: list[str], *, check: bool) -> None:
        # this machine's own grub-mkimage, outside the root, in place of the image's inside it
        assert [str(word) for word in args[:2]] == ["mkosi-chroot", "/usr/bin/grub-mkimage"]
        inside = [word.replace("=/boot", f"={root}/boot").replace("=/usr", f"={root}/usr") for word in args[2:]]
        run([*mkimage, *inside], check=check)

    monkeypatch.setattr(finalize.subprocess, "run", chroot)
    finalize.make_grub(root)
    monkeypatch.undo()
    assert not (root / "usr/lib/grub").exists()
    fat = tmp_path / "fat"
    with fat.open("wb") as file:
        file.truncate(128 << 20)
    mkfs = command("sbin/mkfs.vfat", ("dosfstools",), "bookworm")
    subprocess.run([*mkfs, fat], check=True, stdout=subprocess.DEVNULL)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "mcopy").write_text(
        f'#!/bin/sh\nexec {shlex.join(command("usr/bin/mcopy", ("mtools",), "bookworm"))} "$@"\n'
    )
    (tools / "mcopy").chmod(0o755)
    data, hashes = halves()
    core = (root / "boot/podvm-grub.elf").read_bytes()
    parts = [(PREP, uuid.uuid4(), core), (last.GENERIC, uuid.uuid4(), fat.read_bytes())]
    write_disk(out / "image.raw", [*parts, (last.ROOT, data, b"d"), (last.VERITY, hashes, b"h")], 160 << 11)
    finish(tmp_path, f"{tools}:{os.environ['PATH']}")
    machine = ["-M", "pseries", "-vga", "none", "-device", "virtio-blk-pci,drive=d,bootindex=1"]
    said = boot("qemu-system-ppc64", "qemu-system-ppc", machine, out / "image.raw")
    assert f"BOOTED WITH: BOOT_IMAGE=/vmlinuz roothash={HASH} console=hvc0 panic=1" in said, said[-3000:]
