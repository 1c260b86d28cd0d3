"""Boot paths without a UKI: the recipe's own steps put kernel, initrd and root hash where the firmware looks."""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import uuid
from pathlib import Path
from types import ModuleType

import pytest

from podvm_builder.build.image import require_uki
from podvm_builder.errors import InputError
from tests.support.plans import selftest_plan, selftest_recipe

HASH = "00112233445566778899aabbccddeeffffeeddccbbaa99887766554433221100"
BLOCK = 512


TARGETS = {"zipl": "debian-12/none/libvirt:s390x", "grub": "debian-12/none/powervs:ppc64le"}


def load(loader: str, folder: Path) -> ModuleType:
    path = folder / f"{loader}.py"
    path.write_bytes(selftest_recipe(TARGETS[loader])["mkosi.postoutput"].data)
    spec = importlib.util.spec_from_file_location(loader, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """mkosi's output folder, and the environment that it gives its scripts."""
    folder = tmp_path / "out"
    folder.mkdir()
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"KernelCommandLine": ["console=ttysclp0", "quiet"]}))
    for name, value in (("OUTPUTDIR", folder), ("MKOSI_CONFIG", config), ("SRCDIR", tmp_path)):
        monkeypatch.setenv(name, str(value))
    return folder


def write_disk(path: Path, module: ModuleType, *, boot_blocks: int) -> None:
    """Write a disk with a boot partition from block 64 on, and the two of the root."""
    half = uuid.UUID(HASH[:32]), uuid.UUID(HASH[32:])
    rows = [(module.GENERIC, uuid.uuid4(), boot_blocks), (module.ROOT, half[0], 8), (module.VERITY, half[1], 8)]
    table, block = b"", 64
    for kind, own, blocks in rows:
        table += struct.pack("<16s16sQQQ72s", kind.bytes_le, own.bytes_le, block, block + blocks - 1, 0, b"")
        block += blocks
    header = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, 1, 0, 34, 0, b"", 2, 4, 128, 0)
    disk = bytearray(block * BLOCK)
    disk[BLOCK : BLOCK + 92] = header
    disk[2 * BLOCK : 2 * BLOCK + len(table)] = table
    path.write_bytes(disk)


def follow(disk: bytes) -> dict[int, bytes]:
    """Return what a machine loads, as QEMU's pc-bios/s390-ccw goes through a boot record: address to bytes."""

    def at(block: int, length: int = BLOCK) -> bytes:
        return disk[block * BLOCK : block * BLOCK + length]

    assert disk[:4] == b"zIPL"
    program = at(struct.unpack_from(">Q", disk, 16)[0])
    assert program[:4] == b"zIPL"
    components = at(struct.unpack_from(">Q", program, 16)[0])
    assert components[:4] == b"zIPL"
    found: dict[int, bytes] = {}
    for offset in range(32, BLOCK, 32):
        block, kind, value = struct.unpack_from(">Q15xBQ", components, offset)
        if kind != 2:
            assert (kind, value) == (1, 0x0008000080010000)
            return found
        pointers = at(block)
        for place in range(0, BLOCK, 16):
            first, size, more = struct.unpack_from(">QHH", pointers, place)
            if not first:
                break
            assert size == BLOCK
            found[value] = found.get(value, b"") + at(first, (more + 1) * BLOCK)
    raise AssertionError("no entry says where to start")


def kernel(limit: int = 4096) -> bytes:
    data = bytearray(b"k" * 0x30000)
    struct.pack_into(">Q", data, 0x10430, limit)
    return bytes(data)


def test_a_boot_record_leads_to_kernel_initrd_and_root_hash(out: Path) -> None:
    module = load("zipl", out.parent)
    initrd = bytes(range(256)) * (17 * 4096 + 1)  # more blocks than one pointer takes
    assert len(initrd) > 0x8000 * BLOCK
    (out / "image.vmlinuz").write_bytes(kernel())
    (out / "image.initrd").write_bytes(initrd)
    write_disk(out / "image.raw", module, boot_blocks=40000)
    before = (out / "image.raw").read_bytes()
    module.main()
    disk = (out / "image.raw").read_bytes()
    loaded = follow(disk)
    assert set(loaded) == {0x10000, 0x2000000}
    assert loaded[0x2000000][: len(initrd)] == initrd
    start = loaded[0x10000]
    assert struct.unpack_from(">QQ", start, 0x408) == (0x2000000, len(initrd))
    text = f"roothash={HASH} console=ttysclp0 quiet".encode() + b"\0"
    assert start[0x480 : 0x480 + len(text)] == text
    assert disk[446 : 64 * BLOCK] == before[446 : 64 * BLOCK]  # neither the partition tables nor the root
    assert disk[40064 * BLOCK :] == before[40064 * BLOCK :]


@pytest.mark.parametrize(
    ("limit", "blocks", "message"), [(64, 40000, "command line is"), (4096, 8, "the boot partition has 4096")]
)
def test_what_does_not_fit_is_said(out: Path, limit: int, blocks: int, message: str) -> None:
    module = load("zipl", out.parent)
    (out / "image.vmlinuz").write_bytes(kernel(limit))
    (out / "image.initrd").write_bytes(b"i" * 5000)
    write_disk(out / "image.raw", module, boot_blocks=blocks)
    with pytest.raises(SystemExit, match=message):
        module.main()


def test_secure_execution_needs_the_hosts_keys(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("zipl", out.parent)
    write_disk(out / "image.raw", module, boot_blocks=8)
    monkeypatch.setattr(module, "SECURE", True)
    with pytest.raises(SystemExit, match="no host key document"):
        module.main()
    (out.parent / "host-keys").mkdir()
    (out.parent / "host-keys/z16.crt").touch()
    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append([str(word) for word in command]))
    module.main()
    (command,) = commands
    assert command[:2] == ["pvimg", "create"]
    assert command[-2:] == ["--host-key-document", str(out.parent / "host-keys/z16.crt")]
    assert (out / "image.parm").read_text() == f"roothash={HASH} console=ttysclp0 quiet"


def test_grub_is_given_the_root_hash(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("grub", out.parent)
    (out.parent / "config.json").write_text(json.dumps({"KernelCommandLine": ["console=hvc0"]}))
    write_disk(out / "image.raw", module, boot_blocks=8)
    copied: dict[str, str] = {}

    def run(command: list[object], **_: object) -> None:
        assert command[:4] == ["mcopy", "-m", "-i", f"{out / 'image.raw'}@@{64 * BLOCK}"]
        source = Path(str(command[4]))
        copied[str(command[5])] = source.read_text() if source.exists() else source.name

    monkeypatch.setattr(subprocess, "run", run)
    module.main()
    assert copied == {
        "::/vmlinuz": "image.vmlinuz",
        "::/initrd": "image.initrd",
        "::/podvm.cfg": f"linux /vmlinuz roothash={HASH} console=hvc0\ninitrd /initrd\nboot\n",
    }


@pytest.mark.parametrize("target", [*TARGETS.values(), "debian-12/se/libvirt:s390x"])
def test_images_without_uki_are_rendered_so_and_not_built(target: str) -> None:
    recipe = selftest_recipe(target)
    config = recipe["mkosi.conf"].data
    assert b"Bootloader=none" in config and b"uki" not in config
    assert recipe["mkosi.postoutput"].mode == 0o755
    assert "mkosi.repart/00-esp.conf" not in recipe
    assert not any(package.startswith("systemd-boot") for package in selftest_plan(target).packages)
    assert (b"SECURE = True" in recipe["mkosi.postoutput"].data) is ("/se/" in target)
    with pytest.raises(InputError) as caught:
        require_uki(selftest_plan(target))
    assert caught.value.code == "PVB127"
