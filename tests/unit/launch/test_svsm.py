"""An SVSM given as an image of its own, below the firmware."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import pytest

from podvm_builder.errors import FormatError, InputError, PodvmError
from podvm_builder.formats.kernel_hashes import KernelHashes
from podvm_builder.measure.inputs import Cpu
from podvm_builder.measure.snp import launch_digest, launch_digests
from podvm_builder.measure.snp_launch import SnpLaunch
from podvm_builder.measure.svsm import place_svsm
from podvm_builder.measure.vmm import VMMS, find_vmm
from podvm_builder.measure.vmsa import svsm_vmsa_page
from tests.support import firmware as fw

CPU = Cpu.parse("EPYC-v4")
CODE = fw.Firmware(size=64 << 10, unique_pages=4, sev=None).build()
ENTRY = (fw.SVSM_INFO, struct.pack("<I", 0x1234))
SVSM = fw.Firmware(size=32 << 10, seed=7, unique_pages=6, reset=None, hash_table=None, with_tdx=False, extra=(ENTRY,))
VARS = 0x84000
END = (1 << 32) - (64 << 10) - VARS


def test_where_it_lies() -> None:
    placed = place_svsm(SVSM.build(), CODE, vars_size=VARS)
    assert placed.gpa == END - (32 << 10)
    assert placed.start == placed.gpa + 0x1234


def test_the_vcpus_state() -> None:
    """Offsets of AMD APM volume 2, table B-4; values of COCONUT's QEMU."""
    page = svsm_vmsa_page(VMMS[0], start=0xFFEF_0123, signature=CPU.signature, guest_features=0x21)
    for offset in (0x000, 0x020, 0x030, 0x040):
        assert struct.unpack_from("<HHIQ", page, offset) == (16, 0xC93, 0xFFFF_FFFF, 0)
    assert struct.unpack_from("<HHIQ", page, 0x010) == (8, 0xC9B, 0xFFFF_FFFF, 0)
    assert struct.unpack_from("<HHIQ", page, 0x050) == (0, 0x93, 0xFFFF, 0)
    registers = {0x158: 0x11, 0x178: 0xFFEF_0123, 0x310: CPU.signature, 0x3B0: 0x21}
    for offset, value in registers.items():
        assert struct.unpack_from("<Q", page, offset) == (value,)
    assert struct.unpack_from("<I", page, 0x408) == (0x1F80,)
    assert struct.unpack_from("<H", page, 0x410) == (0x37F,)


def test_regions_fold_to_the_digest() -> None:
    svsm = SVSM.build()
    launch = SnpLaunch(CODE, svsm=place_svsm(svsm, CODE, vars_size=VARS))
    firmware, listed, *rest, first, further = launch.regions(VMMS[0], cpu=CPU, vcpus=3)
    assert (listed.source, listed.gpa) == ("SVSM", END - len(svsm))
    assert listed.digest == hashlib.sha384(svsm).digest()
    assert first.digest == further.digest
    digest = firmware.digest or b""
    numbers = {"normal": 1, "vmsa": 2, "zero": 3, "secrets": 5, "cpuid": 6}
    pages = [(1, listed.gpa + at, hashlib.sha384(svsm[at : at + 4096]).digest()) for at in range(0, len(svsm), 4096)]
    for region in (*rest, first, further, further):
        for at in range(0, region.length, 4096):
            pages.append((numbers[region.page_type], region.gpa + at, region.digest or bytes(48)))
    for kind, gpa, content in pages:
        digest = hashlib.sha384(digest + content + struct.pack("<HB5xQ", 0x70, kind, gpa)).digest()
    assert digest == launch.digests(VMMS[0], cpu=CPU, vcpus=(3,))[3]


def test_every_input_is_in_the_variant() -> None:
    svsm = place_svsm(SVSM.build(), CODE, vars_size=VARS)
    (measurement,), regions = launch_digests(CODE, vmms=VMMS[:1], cpus=(CPU,), vcpus=(2,), svsm=svsm)
    assert measurement.variant["svsm"] == f"sha256:{hashlib.sha256(SVSM.build()).hexdigest()}"
    assert measurement.variant["vars_size"] == VARS
    assert "not yet seen on hardware" in (measurement.reason or "")
    assert measurement.origin is not None
    assert measurement.origin[1] in regions
    elsewhere = place_svsm(SVSM.build(), CODE, vars_size=0)
    digests = {launch_digest(CODE, cpu=CPU, svsm=one) for one in (svsm, elsewhere)}
    digests |= {launch_digest(CODE, cpu=CPU, svsm=svsm, guest_features=0x21)}
    digests |= {launch_digest(CODE, cpu=CPU, svsm=svsm, vmm=find_vmm("qemu@before-sev-init2"))}
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("svsm", "vars_size", "code"),
    [
        pytest.param(b"", VARS, "PVB220", id="empty"),
        pytest.param(SVSM.build()[:-1], VARS, "PVB220", id="cut"),
        pytest.param(bytes(4096), VARS, "PVB221", id="no-table"),
        pytest.param(replace(SVSM, sev=None).build(), VARS, "PVB238", id="no-metadata"),
        pytest.param(replace(SVSM, extra=()).build(), VARS, "PVB238", id="no-entry-point"),
        pytest.param(
            replace(SVSM, extra=((fw.SVSM_INFO, struct.pack("<I", 32 << 10)),)).build(), VARS, "PVB238", id="outside"
        ),
        pytest.param(replace(SVSM, extra=((fw.SVSM_INFO, b"12"),)).build(), VARS, "PVB221", id="short-entry"),
        pytest.param(SVSM.build(), -4096, "PVB238", id="negative"),
        pytest.param(SVSM.build(), 100, "PVB238", id="odd"),
        pytest.param(SVSM.build(), 1 << 40, "PVB238", id="huge"),
        pytest.param(
            replace(SVSM, sev=((END - 4096, 4096, fw.MEMORY),)).build(), VARS, "PVB222", id="section-over-the-svsm"
        ),
    ],
)
def test_what_is_refused(svsm: bytes, vars_size: int, code: str) -> None:
    with pytest.raises(PodvmError) as caught:
        place_svsm(svsm, CODE, vars_size=vars_size)
    assert caught.value.code == code
    assert isinstance(caught.value, FormatError | InputError)


def test_no_kernel_and_no_other_vmm() -> None:
    svsm = place_svsm(SVSM.build(), CODE, vars_size=VARS)
    with pytest.raises(InputError, match="no kernel is measured"):
        SnpLaunch(CODE, svsm=svsm, kernel=KernelHashes(kernel=bytes(32)))
    with pytest.raises(InputError, match="gce"):
        launch_digest(CODE, cpu=CPU, svsm=svsm, vmm=find_vmm("gce"))
