"""The recipe's finalize script: library closure, archive format, and that equal roots give equal initrds."""

from __future__ import annotations

import importlib.util
import lzma
import os
import struct
import sys
from pathlib import Path
from types import ModuleType

import pytest

from podvm_builder.guest.files import template_files

LIBS = "usr/lib/x86_64-linux-gnu"
LOADER = "usr/lib64/ld-linux-x86-64.so.2"
PROGRAMS = (
    "usr/bin/dash",
    "usr/bin/kmod",
    "usr/bin/mount",
    "usr/bin/sleep",
    "usr/sbin/findfs",
    "usr/sbin/switch_root",
    "usr/sbin/veritysetup",
)


@pytest.fixture
def script(tmp_path: Path) -> ModuleType:
    path = tmp_path / "finalize.py"
    path.write_bytes(template_files("mkosi")["mkosi.finalize"])
    spec = importlib.util.spec_from_file_location("finalize", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def elf(needed: list[str], interpreter: str | None = None) -> bytes:
    """Build the least ELF64 file that has these libraries and this interpreter."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    interp = interpreter.encode() + b"\0" if interpreter else b""
    base, address = 64 + 3 * 56, 0x400000
    dynamic_at = base + len(names) + len(interp)
    tags, position = [(5, address + base)], 1
    for name in needed:
        tags.append((1, position))
        position += len(name) + 1
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in [*tags, (0, 0)])
    total = dynamic_at + len(dynamic)
    segments = [(1, 0, total), (2, dynamic_at, len(dynamic))]
    if interp:
        segments.append((3, base + len(names), len(interp)))
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0
    )
    table = b"".join(struct.pack("<IIQQQQQQ", k, 4, at, address + at, 0, n, n, 1) for k, at, n in segments)
    return (header + table).ljust(base, b"\0") + names + interp + dynamic


@pytest.fixture
def root(tmp_path: Path, script: ModuleType) -> Path:
    tree = tmp_path / "root"
    files = {program: elf(["libc.so.6"], "/lib64/ld-linux-x86-64.so.2") for program in PROGRAMS}
    files["usr/sbin/veritysetup"] = elf(["libcryptsetup.so.12", "libc.so.6"], "/lib64/ld-linux-x86-64.so.2")
    files[f"{LIBS}/libcryptsetup.so.12"] = elf(["libcrypto.so.3"])
    files[f"{LIBS}/libcrypto.so.3"] = elf(["libc.so.6"])
    files[f"{LIBS}/libc.so.6"] = elf([])
    files[f"{LIBS}/libunused.so.1"] = elf([])
    files[LOADER] = elf([])
    for path, data in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    return tree


def read_cpio(archive: bytes) -> list[tuple[str, int, int, int, bytes]]:
    """Return (name, mode, mtime, owner, data) of a newc archive, the trailer left out."""
    entries, at = [], 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = archive[at + 110 : at + 110 + fields[11] - 1].decode()
        at = (at + 110 + fields[11] + 3) // 4 * 4
        data = archive[at : at + fields[6]]
        at = (at + fields[6] + 3) // 4 * 4
        if name == "TRAILER!!!":
            assert at == len(archive)
            return entries
        entries.append((name, fields[1], fields[5], fields[2] | fields[3], data))


def test_the_closure_holds_what_is_needed_and_nothing_else(script: ModuleType, root: Path) -> None:
    paths = {str(path) for path in script.closure(root, PROGRAMS)}
    libraries = {f"{LIBS}/lib{name}" for name in ("c.so.6", "crypto.so.3", "cryptsetup.so.12")}
    assert paths == set(PROGRAMS) | libraries | {LOADER}


def test_a_root_without_dash_and_usr_sbin_gives_an_initrd_with_bash(script: ModuleType, root: Path) -> None:
    (root / "usr/bin/dash").rename(root / "usr/bin/bash")
    for path in sorted((root / "usr/sbin").iterdir()):
        path.rename(root / "usr/bin" / path.name)
    (root / "usr/sbin").rmdir()
    (root / "usr/sbin").symlink_to("bin")
    entries = {name: data for name, _, _, _, data in read_cpio(script.initrd(root, b"#!/bin/sh\n", 0))}
    assert entries["usr/bin/sh"] == b"bash"
    assert {"usr/bin/bash", "usr/bin/findfs", "usr/bin/switch_root", "usr/bin/veritysetup"} <= entries.keys()
    assert "usr/bin/dash" not in entries and "usr/sbin/findfs" not in entries


def test_a_missing_program_stops_the_build_by_name(script: ModuleType, root: Path) -> None:
    (root / "usr/sbin/findfs").unlink()
    with pytest.raises(SystemExit, match="findfs"):
        script.initrd(root, b"", 0)


def test_certificates_are_added_where_the_distribution_has_its_bundle(script: ModuleType, root: Path) -> None:
    bundle, own = root / "var/lib/ca-certificates/ca-bundle.pem", root / "usr/local/share/ca-certificates/own.crt"
    for path, text in ((bundle, "one\n"), (own, "two\n")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    with pytest.raises(SystemExit, match="no CA certificates"):
        script.trust_own_certificates(root)
    (root / "etc/ssl").mkdir(parents=True)
    (root / "etc/ssl/ca-bundle.pem").symlink_to("/var/lib/ca-certificates/ca-bundle.pem")
    script.trust_own_certificates(root)
    assert bundle.read_text() == "one\ntwo\n"


def test_a_missing_library_stops_the_build_by_name(script: ModuleType, root: Path) -> None:
    (root / f"{LIBS}/libcrypto.so.3").unlink()
    with pytest.raises(SystemExit, match=r"libcrypto\.so\.3"):
        script.closure(root, PROGRAMS)


def test_a_program_that_is_no_elf_file_stops_the_build_by_name(script: ModuleType, root: Path) -> None:
    (root / "usr/bin/kmod").write_bytes(b"#!/bin/sh\n")
    with pytest.raises(SystemExit, match="usr/bin/kmod"):
        script.closure(root, PROGRAMS)


def test_the_closure_reads_real_programs(script: ModuleType) -> None:
    names, interpreter = script.needed(Path(os.path.realpath(sys.executable)))
    assert interpreter is None or interpreter.startswith("/lib")
    assert all(".so" in name for name in names)


def test_equal_roots_give_equal_initrds(script: ModuleType, root: Path) -> None:
    first = script.initrd(root, b"#!/bin/sh\n", 1735689600)
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, (1, 1))
    assert script.initrd(root, b"#!/bin/sh\n", 1735689600) == first


def test_the_initrd_is_a_sorted_archive_owned_by_root(script: ModuleType, root: Path) -> None:
    entries = read_cpio(script.initrd(root, b"#!/bin/sh\n", 1735689600))
    names = [entry[0] for entry in entries]
    assert names == sorted(names) and len(set(names)) == len(names)
    assert {(mtime, owner) for _, _, mtime, owner, _ in entries} == {(1735689600, 0)}
    modes = {name: mode for name, mode, *_ in entries}
    assert modes["init"] == 0o100755 and modes["sysroot"] == 0o040755 and modes["bin"] == 0o120777
    # the kernel makes a file only in a folder that came before it
    assert all(name.rpartition("/")[0] in names[: names.index(name)] for name in names if "/" in name)


def test_modules_are_unpacked_and_indexed_again(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "root/usr/lib/modules/6.12.0/kernel/fs"
    folder.mkdir(parents=True)
    (folder / "x.ko.xz").write_bytes(lzma.compress(b"module"))
    (tmp_path / "root/usr/lib/modules/6.12.0/modules.order").touch()
    calls: list[list[object]] = []
    monkeypatch.setattr(script.subprocess, "run", lambda args, check: calls.append(args))
    script.unpack_modules(tmp_path / "root")
    assert (folder / "x.ko").read_bytes() == b"module" and not (folder / "x.ko.xz").exists()
    assert calls == [["depmod", "--all", "--basedir", tmp_path / "root", "6.12.0"]]


def test_no_day_of_the_build_stays_in_the_password_file(script: ModuleType, tmp_path: Path) -> None:
    shadow = tmp_path / "etc/shadow"
    shadow.parent.mkdir()
    shadow.write_text("root:!:20781:0:99999:7:::\n_apt:*:20089:0:99999:7:::\ntss:!:20089::::::\n")
    shadow.chmod(0o640)
    script.settle_passwords(tmp_path, 1735689600)
    assert shadow.read_text() == "root:!:20089:0:99999:7:::\n_apt:*:20089:0:99999:7:::\ntss:!:20089::::::\n"
    assert shadow.stat().st_mode & 0o777 == 0o640


def test_the_kernel_is_reached_through_a_link_from_where_mkosi_looks(script: ModuleType, tmp_path: Path) -> None:
    modules = tmp_path / "usr/lib/modules/6.12.0"
    modules.mkdir(parents=True)
    (tmp_path / "boot").mkdir()
    (modules / "vmlinuz").write_bytes(b"MZ")
    script.move_kernel(tmp_path)
    assert (tmp_path / "boot/vmlinuz-6.12.0").read_bytes() == b"MZ"
    assert (modules / "vmlinuz").read_bytes() == b"MZ" and (modules / "vmlinuz").is_symlink()
