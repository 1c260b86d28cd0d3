"""SEV and SEV-ES launch digests."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.kernel_hashes import KernelHashes, encode_kernel_hashes, hash_cmdline
from podvm_builder.measure.inputs import Cpu, parse_sev_es_features
from podvm_builder.measure.sev import (
    SevLaunch,
    identify_sev,
    measure_sev,
    sev_es_launch_digest,
    sev_launch_digest,
)
from podvm_builder.measure.vmm import VMMS, find_vmm
from podvm_builder.measure.vmsa import RESET_VECTOR, vmsa_page
from tests.support import firmware as fw

SMALL = fw.Firmware(size=64 << 10, unique_pages=4)
CPU = Cpu.parse("EPYC-v4")
KERNEL = KernelHashes(kernel=hashlib.sha256(b"").digest())
WITH_CMDLINE = replace(KERNEL, cmdline=hash_cmdline(b"console=ttyS0 loglevel=7"))


def test_what_is_hashed() -> None:
    image, table = SMALL.build(), encode_kernel_hashes(KERNEL)
    assert sev_launch_digest(image) == hashlib.sha256(image).digest()
    assert sev_launch_digest(image, kernel=KERNEL) == hashlib.sha256(image + table).digest()
    first, further = (
        vmsa_page(VMMS[0], start=start, first=not n, signature=CPU.signature, guest_features=0)
        for n, start in enumerate((RESET_VECTOR, 0x0080B004))
    )
    expected = hashlib.sha256(image + table + first + further * 2).digest()
    assert sev_es_launch_digest(image, cpu=CPU, vcpus=3, kernel=KERNEL) == expected


@pytest.mark.parametrize(
    ("name", "kernel", "vcpus", "expected"),
    [
        ("ovmf_AmdSev_suffix.bin", KERNEL, 1, "13810ae661ea11e2"),
        ("ovmf_AmdSev_suffix.bin", KERNEL, 4, "0dccbcaba8e90b26"),
        ("ovmf_AmdSev_suffix.bin", WITH_CMDLINE, 0, "82a3ee5d537c3620"),
        ("ovmf_AmdSev_suffix.bin", KERNEL, 0, "77f613d7bbcdf12a"),
        ("ovmf_OvmfX64_suffix.bin", None, 0, "b4c021e085fb83ce"),
    ],
)
def test_public_values(vectors: Path, name: str, kernel: KernelHashes | None, vcpus: int, expected: str) -> None:
    image = (vectors / "firmware" / name).read_bytes()
    if vcpus:
        found = sev_es_launch_digest(image, cpu=CPU, vcpus=vcpus, kernel=kernel)
    else:
        found = sev_launch_digest(image, kernel=kernel)
    assert found.hex().startswith(expected)


def test_a_sweep() -> None:
    launch = SevLaunch(SMALL.build())
    cpus = (CPU, Cpu.parse("EPYC-Milan"))
    vmms = (find_vmm("qemu"), find_vmm("qemu@before-sev-init2"))
    measurements, regions = measure_sev(launch, vmms=vmms, cpus=cpus, vcpus=(1, 5), guest_features=(0, 0x20))
    assert [m.register for m in measurements].count("sev.launch_digest") == 1
    assert [m.register for m in measurements].count("sev-es.launch_digest") == 16
    assert len({m.value for m in measurements}) == 17
    for measurement in measurements:
        assert measurement.alg == "sha256"
        assert "HMAC" in (measurement.reason or "")
        assert measurement.origin is not None
        assert measurement.origin[1] in regions


def test_one_mode_alone() -> None:
    (measurement,), _ = measure_sev(SevLaunch(SMALL.build()), modes=("sev",), cpus=(CPU,))
    assert measurement.register == "sev.launch_digest"
    assert "vcpus" not in measurement.variant


def test_regions_add_up() -> None:
    launch = SevLaunch(SMALL.build(), kernel=KERNEL)
    sources = [region.source for region in launch.regions(VMMS[0], cpu=CPU, vcpus=2)]
    assert sources == ["firmware", "kernel hashes", "VMSA of the first vCPU", "VMSA of each further vCPU"]
    assert [region.source for region in launch.regions(None, cpu=CPU)] == ["firmware", "kernel hashes"]


def test_with_a_kernel_the_image_is_identified() -> None:
    found = identify_sev(SevLaunch(SMALL.build(), kernel=KERNEL), ("sev", "sev-es"))
    assert found.value
    assert found.by == ("sev.launch_digest", "sev-es.launch_digest")
    assert not identify_sev(SevLaunch(SMALL.build()), ("sev",)).value
    (measurement,), _ = measure_sev(SevLaunch(SMALL.build(), kernel=KERNEL), modes=("sev",), cpus=(CPU,))
    assert measurement.variant["boot"] == "direct"
    assert [basis.kind for basis in measurement.basis] == ["firmware", "image"]


def test_what_is_refused() -> None:
    image = SMALL.build()
    with pytest.raises(FormatError) as no_table:
        SevLaunch(replace(SMALL, hash_table=(0, 0)).build(), kernel=KERNEL)
    assert no_table.value.code == "PVB224"
    with pytest.raises(FormatError) as no_reset:
        sev_es_launch_digest(replace(SMALL, reset=None).build(), cpu=CPU, vcpus=2)
    assert no_reset.value.code == "PVB233"
    with pytest.raises(InputError) as no_vcpus:
        sev_es_launch_digest(image, cpu=CPU, vcpus=0)
    assert no_vcpus.value.code == "PVB227"
    with pytest.raises(InputError) as other_vmm:
        sev_es_launch_digest(image, cpu=CPU, vmm=find_vmm("ec2"))
    assert other_vmm.value.code == "PVB229"
    for features in ("1", "0x21", str(1 << 64)):
        with pytest.raises(InputError) as snp_features:
            parse_sev_es_features(features)
        assert snp_features.value.code == "PVB230"
