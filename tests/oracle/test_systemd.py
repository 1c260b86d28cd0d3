"""Oracles of a tools tree: UKIs of ukify, values of systemd-measure, file systems of mkfs.vfat, what sbsign signs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from podvm_builder.formats.fat import FatFilesystem
from podvm_builder.formats.gpt import ESP, parse_gpt
from podvm_builder.formats.pe import authenticode
from podvm_builder.formats.readers import BytesReader, read_all
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.boot_log import PHASES
from podvm_builder.measure.tpm import fold, predict_tpm
from podvm_builder.measure.tpm_boot import TpmBoot
from tests.support.pe import build_kernel
from tests.support.tools_tree import Oracle

STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
BANKS = ("sha1", "sha256", "sha384", "sha512")


@pytest.fixture
def oracle(tmp_path: Path) -> Oracle:
    return Oracle(tmp_path)


def _make_uki(oracle: Oracle, *options: str) -> bytes:
    """Have ukify build a UKI with the sections that mkosi gives it, and more if its options say so."""
    folder = oracle.folder
    oracle.path(STUB)
    (folder / "linux").write_bytes(build_kernel(body=bytes(range(256)) * 101))
    (folder / "initrd").write_bytes(b"an initrd whose length is no multiple of four" * 333)
    (folder / "osrel").write_bytes(b"ID=test\nVERSION_ID=1\n")
    oracle.run(
        "/usr/bin/ukify",
        "build",
        *("--linux", "linux", "--initrd", "initrd", "--cmdline", "quiet roothash=abc systemd.volatile=state"),
        *("--os-release", "@osrel", "--uname", "6.12.1-test", "--stub", STUB, "--output", "uki.efi"),
        *options,
    )
    return (folder / "uki.efi").read_bytes()


@pytest.mark.parametrize("sections", [(), (".ucode", ".pcrpkey")])
def test_pcr_11_with_and_without_phases_is_that_of_systemd_measure(oracle: Oracle, sections: tuple[str, ...]) -> None:
    for name in sections:
        (oracle.folder / name[1:]).write_bytes(name.encode() * 7)
    uki = _make_uki(oracle, *(f"--section={name}:@{name[1:]}" for name in sections))
    artifacts = read_boot_artifacts(BytesReader(uki))
    version = artifacts.uki.stub_version
    assert version is not None
    options = []
    for name, content in artifacts.uki.sections.items():
        (oracle.folder / f"section{name}").write_bytes(read_all(content))
        options.append(f"--{name[1:]}=section{name}")
    phases = ":".join(PHASES[:3]), ":".join(PHASES)
    said = json.loads(
        oracle.run(
            "/usr/lib/systemd/systemd-measure",
            "calculate",
            *options,
            *(f"--bank={bank}" for bank in BANKS),
            *(f"--phase={phase}" for phase in ("", *phases)),
            "--json=short",
        )
    )
    plain, phased = predict_tpm(artifacts, [TpmBoot(), TpmBoot(phases=PHASES)], banks=BANKS)
    for bank in BANKS:
        ours = [
            row.value.hex()
            for prediction in (plain, phased)
            for row in prediction.measurements
            if (row.register, row.alg) == ("tpm.pcr11", bank) and row.value is not None
        ]
        assert ours == [row["hash"] for row in said[bank]]


def test_systemd_measure_gives_hardware_identifiers_the_wrong_name(oracle: Oracle) -> None:
    """systemd-measure 257 measures what `--hwids` names as `.dtbauto`; the stub measures a section by its own name."""
    (oracle.folder / "hwids").write_bytes(b"digests of SMBIOS fields")
    uki = read_boot_artifacts(BytesReader(_make_uki(oracle, "--section=.hwids:@hwids")))
    assert uki.uki.stub_version == 257
    (ours,) = predict_tpm(uki, [TpmBoot()], banks=("sha256",))
    options = []
    for name, content in uki.uki.sections.items():
        (oracle.folder / f"section{name}").write_bytes(read_all(content))
        options.append(f"--{name[1:]}=section{name}")
    said = json.loads(
        oracle.run(
            "/usr/lib/systemd/systemd-measure", "calculate", *options, "--bank=sha256", "--phase=", "--json=short"
        )
    )["sha256"][0]["hash"]
    events = [event for event in ours.log if event.pcr == 11]
    assert events[-2].subject == "name of section .hwids"
    wrong = hashlib.sha256(b".dtbauto\0").digest()
    events[-2] = replace(events[-2], digests={"sha256": wrong})
    assert fold(events, 11, "sha256").hex() == said
    assert fold(ours.log, 11, "sha256").hex() != said


def test_every_section_that_ukify_wrote_is_read(oracle: Oracle) -> None:
    uki = read_boot_artifacts(BytesReader(_make_uki(oracle))).uki
    assert read_all(uki.sections[".linux"]) == (oracle.folder / "linux").read_bytes()
    assert read_all(uki.sections[".initrd"]) == (oracle.folder / "initrd").read_bytes()
    assert uki.text(".cmdline").rstrip(b"\0") == b"quiet roothash=abc systemd.volatile=state"
    assert uki.kernel_release == (6, 12)


def test_signing_leaves_the_authenticode_digest_alone(oracle: Oracle) -> None:
    uki = _make_uki(oracle)
    if len(uki) % 8:
        pytest.skip("signing pads this file, which changes its digest")
    oracle.run(
        "/usr/bin/openssl",
        *(
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
            "-subj",
            "/CN=test",
        ),
    )
    oracle.run("/usr/bin/sbsign", "--key", "key.pem", "--cert", "cert.pem", "--output", "signed.efi", "uki.efi")
    signed = (oracle.folder / "signed.efi").read_bytes()
    assert len(signed) > len(uki)
    assert authenticode(BytesReader(signed), BANKS) == authenticode(BytesReader(uki), BANKS)
    # the signature holds the digest that the signer computed
    assert authenticode(BytesReader(uki), ("sha256",))["sha256"] in signed[len(uki) :]


@pytest.mark.parametrize(("bits", "megabytes"), [("12", 2), ("16", 32), ("32", 64)])
def test_file_systems_of_mkfs_vfat(oracle: Oracle, bits: str, megabytes: int) -> None:
    image = oracle.folder / "esp.img"
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    files = {
        "EFI/BOOT/BOOTX64.EFI": bytes(range(251)) * 399,
        "EFI/BOOT/BOOTX64.EFI.extra.d/some long name.addon.efi": b"addon",
        "loader/loader.conf": b"timeout 0\n",
        "loader/empty": b"",
    }
    oracle.run("/usr/sbin/mkfs.vfat", "-F", bits, "-s", "1", "-n", "ESP", "esp.img")
    for folder in ("EFI", "EFI/BOOT", "EFI/BOOT/BOOTX64.EFI.extra.d", "loader"):
        oracle.run("/usr/bin/mmd", "-i", "esp.img", f"::{folder}")
    for number, (path, data) in enumerate(files.items()):
        (oracle.folder / f"file{number}").write_bytes(data)
        oracle.run("/usr/bin/mcopy", "-i", "esp.img", f"file{number}", f"::{path}")
    oracle.run("/usr/bin/mdel", "-i", "esp.img", "::loader/loader.conf")
    filesystem = FatFilesystem(BytesReader(image.read_bytes()))
    assert filesystem.bits == int(bits)
    assert [entry.name for entry in filesystem.list("loader")] == ["empty"]
    for path, data in files.items():
        entry = filesystem.find(path)
        if path == "loader/loader.conf":
            assert entry is None
        else:
            assert entry is not None
            assert read_all(filesystem.open(entry)) == data


def test_partition_tables_of_systemd_repart(oracle: Oracle) -> None:
    definitions = oracle.folder / "repart.d"
    definitions.mkdir()
    (definitions / "00-esp.conf").write_text("[Partition]\nType=esp\nFormat=vfat\nSizeMinBytes=40M\nSizeMaxBytes=40M\n")
    (definitions / "10-root.conf").write_text("[Partition]\nType=root\nSizeMinBytes=4M\nSizeMaxBytes=4M\n")
    oracle.run(
        "/usr/bin/systemd-repart",
        *("--empty=create", "--size=auto", "--dry-run=no", "--offline=yes", "--definitions=repart.d"),
        *("--seed=11111111-2222-3333-4444-555555555555", "disk.raw"),
    )
    reader = BytesReader((oracle.folder / "disk.raw").read_bytes())
    gpt = parse_gpt(reader)
    assert [partition.size for partition in gpt.partitions] == [40 << 20, 4 << 20]
    assert gpt.partitions[0].type == ESP
