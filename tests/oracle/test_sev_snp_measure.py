"""SNP launch digests against the PyPI package sev-snp-measure, over generated firmware and every input."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podvm_builder.catalog.cpus import SIGNATURES
from podvm_builder.formats.kernel_hashes import KernelHashes, hash_cmdline
from podvm_builder.measure.inputs import Cpu
from podvm_builder.measure.snp import launch_digest
from podvm_builder.measure.snp_launch import firmware_digest
from podvm_builder.measure.vmm import find_vmm
from tests.support import firmware as fw
from tests.support.real_firmware import debian_ovmf

guest = pytest.importorskip("sevsnpmeasure.guest", reason="sev-snp-measure is not installed")
from sevsnpmeasure import vcpu_types  # noqa: E402
from sevsnpmeasure.sev_mode import SevMode  # noqa: E402
from sevsnpmeasure.vmm_types import VMMType  # noqa: E402

THEIR_VMMS = {"qemu": VMMType.QEMU, "ec2": VMMType.ec2, "gce": VMMType.gce}


def theirs(
    path: Path,
    *,
    vmm: str,
    vcpus: int,
    signature: int,
    features: int,
    kernel: Path | None = None,
    initrd: Path | None = None,
    append: str = "",
) -> bytes:
    digest = guest.calc_launch_digest(
        SevMode.SEV_SNP,
        vcpus,
        signature,
        str(path),
        str(kernel) if kernel else "",
        str(initrd) if initrd else "",
        append,
        features,
        vmm_type=THEIR_VMMS[vmm],
    )
    return bytes(digest)


@st.composite
def layouts(draw: st.DrawFn) -> fw.Firmware:
    """Firmware with sections in any order, some of size zero, hash tables anywhere in their page."""
    table_at = draw(st.integers(0, (4096 - 176) // 16)) * 16
    sizes = st.integers(0, 5).map(lambda pages: pages * 4096)
    sections = [
        (0x800000, draw(sizes), fw.MEMORY),
        (0x80A000, draw(sizes), fw.MEMORY),
        (0x810000, draw(sizes), fw.SVSM_CAA),
        (0x820000, 4096, fw.SECRETS),
        (0x821000, 4096, fw.CPUID),
        (0x822000, 4096, fw.KERNEL_HASHES),
    ]
    return fw.Firmware(
        size=draw(st.sampled_from([4096, 8192, 64 << 10, 256 << 10])),
        seed=draw(st.integers(0, 2**32)),
        unique_pages=draw(st.integers(0, 16)),
        reset=draw(st.integers(0, 2**32 - 1)),
        hash_table=(0x822000 + table_at, 0x400),
        sev=tuple(draw(st.permutations(sections))),
        with_tdx=draw(st.booleans()),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layout=layouts(),
    vmm=st.sampled_from(sorted(THEIR_VMMS)),
    vcpus=st.integers(1, 20),
    signature=st.integers(1, 2**32 - 1),
    features=st.integers(0, 2**63 - 1).map(lambda bits: bits << 1 | 1),
    kernel=st.none() | st.binary(max_size=300),
    initrd=st.none() | st.binary(max_size=300),
    append=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
)
def test_generated_firmware(
    *,
    tmp_path: Path,
    layout: fw.Firmware,
    vmm: str,
    vcpus: int,
    signature: int,
    features: int,
    kernel: bytes | None,
    initrd: bytes | None,
    append: str,
) -> None:
    image = layout.build()
    files = {"firmware": image, "kernel": kernel, "initrd": initrd}
    paths = {name: tmp_path / name for name, data in files.items() if data is not None}
    for name, path in paths.items():
        path.write_bytes(files[name] or b"")
    hashes = None
    if kernel is not None:
        hashes = KernelHashes(
            kernel=hashlib.sha256(kernel).digest(),
            initrd=hashlib.sha256(initrd or b"").digest(),
            cmdline=hash_cmdline(append.encode()),
        )
    ours = launch_digest(
        image,
        cpu=Cpu.of_signature(signature),
        vcpus=vcpus,
        vmm=find_vmm(vmm),
        guest_features=features,
        kernel=hashes,
    )
    assert ours == theirs(
        paths["firmware"],
        vmm=vmm,
        vcpus=vcpus,
        signature=signature,
        features=features,
        kernel=paths.get("kernel"),
        initrd=paths.get("initrd") if kernel is not None else None,
        append=append,
    )


@pytest.fixture(scope="module")
def amdsev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 4 MiB image laid out like OVMF.amdsev.fd; always there, unlike the real one."""
    path = tmp_path_factory.mktemp("firmware") / "OVMF.amdsev.fd"
    path.write_bytes(fw.Firmware().build())
    return path


@pytest.mark.parametrize("vmm", sorted(THEIR_VMMS))
@pytest.mark.parametrize("cpu", ["EPYC-v4", "EPYC-Rome", "EPYC-Milan", "EPYC-Genoa", "EPYC-Turin"])
@pytest.mark.parametrize(("vcpus", "features"), [(1, 0x1), (8, 0x21), (255, 0x1)])
def test_a_whole_firmware(amdsev: Path, vmm: str, cpu: str, vcpus: int, features: int) -> None:
    model = Cpu.parse(cpu)
    ours = launch_digest(amdsev.read_bytes(), cpu=model, vcpus=vcpus, vmm=find_vmm(vmm), guest_features=features)
    assert ours == theirs(amdsev, vmm=vmm, vcpus=vcpus, signature=model.signature, features=features)


@pytest.mark.parametrize("name", ["ovmf_AmdSev_suffix.bin", "ovmf_OvmfX64_suffix.bin", "google-clean-example-2MiB.fd"])
@pytest.mark.parametrize("vmm", sorted(THEIR_VMMS))
def test_public_vectors(vectors: Path, name: str, vmm: str) -> None:
    path = vectors / "firmware" / name
    ours = launch_digest(path.read_bytes(), cpu=Cpu.parse("EPYC-v4"), vcpus=4, vmm=find_vmm(vmm))
    assert ours == theirs(path, vmm=vmm, vcpus=4, signature=SIGNATURES["EPYC-v4"], features=1)


def test_debians_firmware() -> None:
    path = debian_ovmf()
    ours = launch_digest(path.read_bytes(), cpu=Cpu.parse("EPYC-Genoa"), vcpus=16)
    assert ours == theirs(path, vmm="qemu", vcpus=16, signature=SIGNATURES["EPYC-Genoa"], features=1)


def test_the_firmware_seed(amdsev: Path) -> None:
    assert firmware_digest(amdsev.read_bytes()) == guest.calc_snp_ovmf_hash(str(amdsev))


def test_signatures_of_the_models_both_know() -> None:
    assert {name: SIGNATURES[name] for name in vcpu_types.CPU_SIGS} == vcpu_types.CPU_SIGS


def test_where_the_oracle_is_wrong_firmware_without_metadata(tmp_path: Path) -> None:
    """It gives a digest for firmware that no VMM starts as an SNP guest; we refuse (PVB223)."""
    from podvm_builder.errors import FormatError

    path = tmp_path / "plain.fd"
    path.write_bytes(fw.Firmware(size=64 << 10, unique_pages=4, sev=None).build())
    assert len(theirs(path, vmm="qemu", vcpus=1, signature=SIGNATURES["EPYC-v4"], features=1)) == 48
    with pytest.raises(FormatError) as caught:
        launch_digest(path.read_bytes(), cpu=Cpu.parse("EPYC-v4"))
    assert caught.value.code == "PVB223"


def test_where_the_oracle_is_wrong_no_vcpus(amdsev: Path) -> None:
    """It gives a digest for a guest without vCPUs; we refuse (PVB227)."""
    from podvm_builder.errors import InputError

    assert len(theirs(amdsev, vmm="qemu", vcpus=0, signature=SIGNATURES["EPYC-v4"], features=1)) == 48
    with pytest.raises(InputError) as caught:
        launch_digest(amdsev.read_bytes(), cpu=Cpu.parse("EPYC-v4"), vcpus=0)
    assert caught.value.code == "PVB227"
