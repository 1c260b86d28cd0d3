"""Debian's firmware for confidential guests, pinned by digest: what the catalogue says of it, and its digests.

SNP digests are compared with the PyPI package sev-snp-measure, MRTD with a fold written here, step by step.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.formats.kernel_hashes import KernelHashes, hash_cmdline
from podvm_builder.formats.ovmf import hash_table_area, read_table
from podvm_builder.formats.sev_metadata import read_sev_sections
from podvm_builder.formats.tdvf import read_tdx_sections
from podvm_builder.measure.inputs import Cpu
from podvm_builder.measure.snp import launch_digest
from podvm_builder.measure.tdx import mrtd
from podvm_builder.measure.vmm import find_vmm
from tests.support.real_firmware import pinned_firmware

guest = pytest.importorskip("sevsnpmeasure.guest", reason="sev-snp-measure is not installed")
from sevsnpmeasure.sev_mode import SevMode  # noqa: E402
from sevsnpmeasure.vmm_types import VMMType  # noqa: E402

NAMES = ("ovmf-amdsev", "ovmf-inteltdx")


@pytest.mark.parametrize("name", NAMES)
def test_the_catalogue_says_what_the_file_says(name: str) -> None:
    image = pinned_firmware(name)
    entry = catalogue().firmware[name]
    known = entry.known[hashlib.sha256(image).hexdigest()]
    table = read_table(image)
    area = hash_table_area(table)
    assert known.snp == entry.snp == bool(read_sev_sections(image, table))
    assert known.tdx == entry.tdx == bool(read_tdx_sections(image, table))
    assert known.kernel_hashes == entry.kernel_hashes == (area is not None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("vcpus", [1, 7, 64])
@pytest.mark.parametrize(("vmm", "their_vmm"), [("qemu", VMMType.QEMU), ("ec2", VMMType.ec2), ("gce", VMMType.gce)])
def test_launch_digests(name: str, vcpus: int, vmm: str, their_vmm: VMMType, tmp_path: Path) -> None:
    image = pinned_firmware(name)
    path = tmp_path / "firmware.fd"
    path.write_bytes(image)
    cpu = Cpu.parse("EPYC-Genoa")
    theirs = guest.calc_launch_digest(
        SevMode.SEV_SNP, vcpus, cpu.signature, str(path), "", "", "", 0x1, vmm_type=their_vmm
    )
    assert launch_digest(image, cpu=cpu, vcpus=vcpus, vmm=find_vmm(vmm), guest_features=0x1) == theirs


def test_kernel_hashes(tmp_path: Path) -> None:
    image = pinned_firmware("ovmf-amdsev")
    files = {"firmware": image, "kernel": b"MZ kernel" * 999, "initrd": b"initrd" * 77}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    append = "console=ttyS0 roothash=12"
    theirs = guest.calc_launch_digest(
        SevMode.SEV_SNP,
        4,
        Cpu.parse("EPYC-v4").signature,
        *(str(tmp_path / name) for name in files),
        append,
        0x1,
        vmm_type=VMMType.QEMU,
    )
    hashes = KernelHashes(
        kernel=hashlib.sha256(files["kernel"]).digest(),
        initrd=hashlib.sha256(files["initrd"]).digest(),
        cmdline=hash_cmdline(append.encode()),
    )
    ours = launch_digest(
        image, cpu=Cpu.parse("EPYC-v4"), vcpus=4, vmm=find_vmm("qemu"), guest_features=0x1, kernel=hashes
    )
    assert ours == theirs


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("order", ["single-pass", "two-pass"])
def test_mrtd(name: str, order: str) -> None:
    image = pinned_firmware(name)
    digest = hashlib.sha384()

    def add(page: int) -> None:
        digest.update(b"MEM.PAGE.ADD".ljust(16, b"\0") + page.to_bytes(8, "little") + bytes(104))

    def extend(page: int, data: bytes) -> None:
        for at in range(0, 4096, 256):
            digest.update(b"MR.EXTEND".ljust(16, b"\0") + (page + at).to_bytes(8, "little") + bytes(104))
            digest.update(data[at : at + 256])

    for section in read_tdx_sections(image, read_table(image)):
        pages = range(section.gpa, section.gpa + section.size, 4096)
        for page in pages:
            add(page)
            if section.extended and order == "single-pass":
                extend(page, image[section.data_offset + page - section.gpa :][:4096])
        if section.extended and order == "two-pass":
            for page in pages:
                extend(page, image[section.data_offset + page - section.gpa :][:4096])
    assert mrtd(image, order) == digest.digest()
