"""Oracles of a tools tree for what PCRs depend on: stores of virt-fw-vars, signatures of sbsign, qcow2 of qemu-img,
file systems of mksquashfs and mkfs.erofs, profiles of ukify."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from podvm_builder.formats.efi_siglist import Signature, parse_signature_lists
from podvm_builder.formats.erofs import Erofs
from podvm_builder.formats.filetree import FileTree, Kind, ReadableTree
from podvm_builder.formats.pe import authenticode, parse_pe
from podvm_builder.formats.qcow2 import Qcow2Reader
from podvm_builder.formats.readers import BytesReader, read_all
from podvm_builder.formats.squashfs import Squashfs
from podvm_builder.formats.varstore import ENABLE, GLOBAL, parse_variable_store
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.secure_boot import Keys, authority
from podvm_builder.measure.tpm import predict_tpm
from podvm_builder.measure.tpm_boot import TpmBoot
from tests.support.pe import build_kernel, build_uki
from tests.support.tools_tree import Oracle

STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
OWNER = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def oracle(tmp_path: Path) -> Oracle:
    return Oracle(tmp_path)


def _certificate(oracle: Oracle, name: str, *issuer: str) -> None:
    oracle.run(
        "/usr/bin/openssl",
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem"),
        *("-subj", f"/CN={name}"),
        *(("-CA", f"{issuer[0]}.pem", "-CAkey", f"{issuer[0]}.key") if issuer else ()),
    )


def test_a_store_of_virt_fw_vars_and_a_signature_of_sbsign(oracle: Oracle) -> None:
    oracle.path(VARS)
    for name in ("pk", "kek", "ca"):
        _certificate(oracle, name)
    _certificate(oracle, "leaf", "ca")
    (oracle.folder / "uki.efi").write_bytes(build_uki())
    oracle.run(
        "/usr/bin/virt-fw-vars",
        *("-i", VARS, "-o", "vars.fd", "--set-pk", OWNER, "pk.pem", "--add-kek", OWNER, "kek.pem"),
        *("--add-db", OWNER, "ca.pem", "--secure-boot"),
    )
    store = parse_variable_store((oracle.folder / "vars.fd").read_bytes())
    assert store.secure_boot
    assert store.get(ENABLE, "SecureBootEnable") == b"\1"
    keys = Keys.from_store(store)
    oracle.run("/usr/bin/openssl", "x509", "-in", "pk.pem", "-outform", "DER", "-out", "pk.der")
    (entry,) = parse_signature_lists(store.get(GLOBAL, "PK"))
    assert (str(entry.owner), entry.data) == (OWNER, (oracle.folder / "pk.der").read_bytes())
    for signer, passes in (("ca", True), ("leaf", True), ("kek", False)):
        oracle.run(
            *("/usr/bin/sbsign", "--key", f"{signer}.key", "--cert", f"{signer}.pem"),
            *("--output", f"{signer}.efi", "uki.efi"),
        )
        reader = BytesReader((oracle.folder / f"{signer}.efi").read_bytes())
        image = parse_pe(reader)
        found = authority(keys, reader, image, authenticode(reader, ("sha256",), image)["sha256"])
        assert isinstance(found, Signature) == passes, found
        prediction = predict_tpm(read_boot_artifacts(reader), [TpmBoot(secure_boot="on", keys=keys)])[0]
        row = next(row for row in prediction.measurements if row.register == "tpm.pcr07")
        assert (row.value is not None) == passes


def test_the_empty_store_of_ovmf_has_secure_boot_off(oracle: Oracle) -> None:
    store = parse_variable_store(oracle.path(VARS).read_bytes())
    assert not store.secure_boot
    assert not store.get(GLOBAL, "PK")


@pytest.mark.parametrize("options", [(), ("-c",), ("-c", "-o", "compression_type=zstd"), ("-o", "compat=0.10")])
@pytest.mark.parametrize("cluster", ["4096", "65536"])
def test_disks_of_qemu_img(oracle: Oracle, options: tuple[str, ...], cluster: str) -> None:
    content = b"".join(bytes([number % 7]) * 3000 for number in range(200)) + bytes(1 << 20) + bytes(range(256)) * 999
    content += bytes(-len(content) % 512)
    (oracle.folder / "disk.raw").write_bytes(content)
    oracle.run(
        "/usr/bin/qemu-img",
        *("convert", "-f", "raw", "-O", "qcow2", "-o", f"cluster_size={cluster}", *options, "disk.raw", "disk.qcow2"),
    )
    disk = Qcow2Reader(BytesReader((oracle.folder / "disk.qcow2").read_bytes()))
    assert read_all(disk) == content
    assert disk.read_at(5001, 70_000) == content[5001:75_001]


def _names(tree: FileTree) -> dict[str, tuple[Kind, int, str]]:
    found: dict[str, tuple[Kind, int, str]] = {}
    folders = [""]
    while folders:
        folder = folders.pop()
        for entry in tree.list(folder):
            path = f"{folder}/{entry.name}".lstrip("/")
            found[path] = (entry.kind, entry.size, entry.target)
            if entry.kind is Kind.FOLDER:
                folders.append(path)
    return found


def assert_contents(tree: ReadableTree, root: Path) -> None:
    """Hold every file of a tree to the one that it was made from."""
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert tree.read(str(path.relative_to(root))) == path.read_bytes(), path


def _root(folder: Path) -> dict[str, tuple[Kind, int, str]]:
    root = folder / "root"
    for number in range(300):
        path = root / f"many/a rather long name, so that the folder needs several blocks {number:04d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * number)
    (root / "etc").mkdir()
    (root / "etc/empty").write_bytes(b"")
    (root / "etc/large").write_bytes(bytes(range(256)) * 4000)
    # ends in fragments and blocks of their own, holes, and what cannot be compressed
    noise = random.Random(7).randbytes(1 << 17)
    for number, data in enumerate((noise, noise[:-1], noise + b"x", bytes(400_000) + noise, noise + bytes(1 << 17))):
        (root / f"etc/{number}").write_bytes(data)
    (root / "etc/link").symlink_to("/dev/null")
    (root / "etc/long link").symlink_to("/".join(["x" * 200] * 10))
    (root / "deep/er/still").mkdir(parents=True)
    found: dict[str, tuple[Kind, int, str]] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = (Kind.LINK, 0, str(path.readlink()))
        elif path.is_dir():
            found[name] = (Kind.FOLDER, 0, "")
        else:
            found[name] = (Kind.FILE, path.stat().st_size, "")
    return found


@pytest.mark.parametrize("compression", ["gzip", "xz", "zstd"])
def test_squashfs_of_mksquashfs(oracle: Oracle, compression: str) -> None:
    expected = _root(oracle.folder)
    oracle.run("/usr/bin/mksquashfs", "root", "root.squashfs", "-comp", compression, "-quiet", "-no-progress")
    tree = Squashfs(BytesReader((oracle.folder / "root.squashfs").read_bytes()))
    assert _names(tree) == expected
    assert_contents(tree, oracle.folder / "root")


@pytest.mark.parametrize("options", [(), ("-zlz4hc",), ("-zzstd", "-C65536", "-Efragments,dedupe,ztailpacking")])
def test_erofs_of_mkfs_erofs(oracle: Oracle, options: tuple[str, ...]) -> None:
    expected = _root(oracle.folder)
    program = "/usr/bin/mkfs.erofs"
    oracle.run(program, *options, "root.erofs", "root")
    tree = Erofs(BytesReader((oracle.folder / "root.erofs").read_bytes()))
    assert _names(tree) == expected
    if not options:
        assert_contents(tree, oracle.folder / "root")


def test_profiles_of_ukify_are_those_of_systemd_measure(oracle: Oracle) -> None:
    oracle.path(STUB)
    folder = oracle.folder
    (folder / "linux").write_bytes(build_kernel())
    (folder / "initrd").write_bytes(b"an initrd")
    (folder / "osrel").write_bytes(b"ID=test\n")
    for name in ("zero", "one"):
        (folder / f"profile-{name}").write_text(f"ID={name}\n")
        oracle.run(
            "/usr/bin/ukify",
            *("build", "--profile", f"@profile-{name}", "--cmdline", f"of {name}", "--output", f"{name}.efi"),
        )
    oracle.run(
        "/usr/bin/ukify",
        *("build", "--linux", "linux", "--initrd", "initrd", "--cmdline", "of the base", "--os-release", "@osrel"),
        *("--uname", "6.12.1-test", "--stub", STUB, "--join-profile", "zero.efi", "--join-profile", "one.efi"),
        *("--output", "uki.efi"),
    )
    artifacts = read_boot_artifacts(BytesReader((folder / "uki.efi").read_bytes()))
    # ukify puts a profile of its own, `main`, before those that are joined
    assert artifacts.uki.profiles == 3
    assert artifacts.uki.text(".profile").rstrip(b"\0") == b"ID=main"
    assert artifacts.uki.text(".cmdline").rstrip(b"\0") == b"of the base"
    options = []
    for name, content in artifacts.uki.sections.items():
        (folder / f"section{name}").write_bytes(read_all(content))
        options.append(f"--{name[1:]}=section{name}")
    said = json.loads(
        oracle.run(
            "/usr/lib/systemd/systemd-measure", "calculate", *options, "--bank=sha256", "--phase=", "--json=short"
        )
    )
    prediction = predict_tpm(artifacts, [TpmBoot()], banks=("sha256",))[0]
    row = next(row for row in prediction.measurements if row.register == "tpm.pcr11")
    assert row.value is not None
    assert row.value.hex() == said["sha256"][0]["hash"]
