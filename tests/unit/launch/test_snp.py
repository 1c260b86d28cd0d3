"""SNP launch digests: published values, the order of things, and what must be refused."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.kernel_hashes import KernelHashes, hash_cmdline
from podvm_builder.measure.inputs import Cpu
from podvm_builder.measure.snp import FIRMWARE_ONLY, identify, launch_digest, launch_digests
from podvm_builder.measure.snp_launch import SnpLaunch, firmware_digest
from podvm_builder.measure.vmm import VMMS, find_vmm
from podvm_builder.measure.vmsa import RESET_VECTOR, vmsa_page
from podvm_builder.model.measurement import Status
from tests.support import firmware as fw

CPU = Cpu.parse("EPYC-v4")
EMPTY = hashlib.sha256(b"").digest()
NOTHING = KernelHashes(kernel=EMPTY)
SMALL = fw.Firmware(size=64 << 10, unique_pages=4)


def naive(pages: list[tuple[int, int, bytes | None]]) -> bytes:
    """Fold (page type, address, content) step by step, written from the specification and nothing else."""
    digest = bytes(48)
    for kind, gpa, content in pages:
        contents = bytes(48) if content is None else hashlib.sha384(content).digest()
        info = digest + contents + struct.pack("<HBBBBBBQ", 0x70, kind, 0, 0, 0, 0, 0, gpa)
        assert len(info) == 0x70
        digest = hashlib.sha384(info).digest()
    return digest


@pytest.mark.parametrize(
    ("vmm", "features", "append", "kernel", "vcpus", "starts"),
    [
        ("qemu", 0x21, "", True, 1, "329c8ce0972ae52343b64d34a434a86f"),
        ("qemu", 0x1, "", True, 1, "ddc5224521617a53"),
        ("qemu", 0x21, "console=ttyS0 loglevel=7", True, 1, "803f691094946e42"),
        ("qemu", 0x1, "console=ttyS0 loglevel=7", True, 1, "6d287813eb5222d7"),
        ("qemu", 0x21, "", False, 1, "e1e1ca029dd7973a"),
        ("qemu", 0x1, "", False, 1, "19358ba9a7615534"),
        ("qemu", 0x21, "", True, 4, "4953b1fb416fa874"),
        ("qemu", 0x1, "", True, 4, "5061fffb019493a9"),
        ("ec2", 0x21, "", True, 1, "0ce9ccc06bab55ee"),
        ("ec2", 0x1, "", True, 1, "0883bd0eeb716e65"),
        ("ec2@rdx-0", 0x21, "", True, 1, "6ae80856486b1396"),
        ("ec2@rdx-0", 0x1, "", True, 1, "7d3756157c805bf6"),
        ("gce", 0x1, "", True, 1, "5da7106cf14cf46b"),
        ("gce", 0x1, "", True, 4, "5c5debf100fc339f"),
    ],
)
def test_published_values(
    *, vectors: Path, vmm: str, features: int, append: str, kernel: bool, vcpus: int, starts: str
) -> None:
    """Values of the tests of virtee/sev-snp-measure and virtee/sev, over the end of an AmdSev firmware."""
    image = (vectors / "firmware" / "ovmf_AmdSev_suffix.bin").read_bytes()
    hashes = KernelHashes(kernel=EMPTY, cmdline=hash_cmdline(append.encode())) if kernel else None
    digest = launch_digest(image, cpu=CPU, vcpus=vcpus, vmm=find_vmm(vmm), guest_features=features, kernel=hashes)
    assert digest.hex().startswith(starts)


@pytest.mark.parametrize(("features", "starts"), [(0x21, "28797ae0afaba400"), (0x1, "da0296de8193586a")])
def test_published_values_without_a_hash_table(vectors: Path, features: int, starts: str) -> None:
    image = (vectors / "firmware" / "ovmf_OvmfX64_suffix.bin").read_bytes()
    assert launch_digest(image, cpu=CPU, guest_features=features).hex().startswith(starts)


def test_googles_example(vectors: Path) -> None:
    image = (vectors / "firmware" / "google-clean-example-2MiB.fd").read_bytes()
    digest = launch_digest(image, cpu=CPU, vmm=find_vmm("gce"))
    assert digest.hex() == (
        "20ec0dbd1c0a26d184a6f11ec5a796d68ec03c9d101bdd84c03f3d9cbbc4a292a9fad098edacfa04da0da58f20be885e"
    )


def test_every_vmm_against_the_specification_step_by_step() -> None:
    """Each row's order, page types and addresses, written out; what no oracle covers is covered here."""
    image = SMALL.build()
    base = (1 << 32) - len(image)
    firmware = [(1, base + i, image[i : i + 4096]) for i in range(0, len(image), 4096)]
    types = {fw.MEMORY: 3, fw.SECRETS: 5, fw.CPUID: 6, fw.SVSM_CAA: 3, fw.KERNEL_HASHES: 3}
    for vmm in VMMS:
        ordered = list(fw.AMDSEV_SECTIONS)
        if vmm.name == "ec2":
            ordered = [s for s in ordered if s[2] != fw.CPUID] + [s for s in ordered if s[2] == fw.CPUID]
        kinds = {**types, fw.MEMORY: 4} if vmm.name == "gce" else types
        metadata = [(kinds[t], g + i, None) for g, size, t in ordered for i in range(0, size, 4096)]
        at = 0xFFFFFFFFFF000 if str(vmm) == "gce@genoa" else 0xFFFFFFFFF000
        first, further = (
            vmsa_page(vmm, start=start, first=is_first, signature=CPU.signature, guest_features=1)
            for start, is_first in ((RESET_VECTOR, True), (0x0080B004, False))
        )
        vmsas = [(2, at, first), (2, at, further), (2, at, further)]
        assert launch_digest(image, cpu=CPU, vmm=vmm, vcpus=3) == naive([*firmware, *metadata, *vmsas]), str(vmm)


def test_sections_of_size_zero_count_for_nothing() -> None:
    with_empty = ((0, 0, fw.SVSM_CAA), *fw.AMDSEV_SECTIONS[:3], (0, 0, fw.MEMORY), *fw.AMDSEV_SECTIONS[3:])
    seed = bytes(48)
    plain, padded = (
        launch_digest(replace(SMALL, sev=sections).build(), cpu=CPU, firmware_seed=seed)
        for sections in (fw.AMDSEV_SECTIONS, with_empty)
    )
    assert plain == padded


def test_table_order_matters_and_is_not_sorted() -> None:
    seed = bytes(48)
    digests = {
        launch_digest(replace(SMALL, sev=sections).build(), cpu=CPU, firmware_seed=seed)
        for sections in (fw.AMDSEV_SECTIONS, fw.AMDSEV_SECTIONS[::-1])
    }
    assert len(digests) == 2


def test_a_hash_section_of_two_pages_is_hashed_whole() -> None:
    sections = ((0x810000, 0x2000, fw.KERNEL_HASHES),)
    image = replace(SMALL, sev=sections).build()
    launch = SnpLaunch(image, kernel=NOTHING)
    (region,) = [r for r in launch.regions(VMMS[0], cpu=CPU) if "hashes" in r.source]
    assert region.length == 0x2000
    assert region.page_type == "normal"


def test_a_seed_gives_the_same_digest() -> None:
    image = SMALL.build()
    seed = firmware_digest(image)
    assert SnpLaunch(image).firmware_seed == seed
    assert launch_digest(image, cpu=CPU, firmware_seed=seed) == launch_digest(image, cpu=CPU)


def test_a_wrong_seed_length_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        SnpLaunch(SMALL.build(), firmware_seed=bytes(32))
    assert caught.value.code == "PVB231"


def test_counts_of_one_walk_are_those_of_single_calls() -> None:
    image = SMALL.build()
    found = SnpLaunch(image).digests(VMMS[0], cpu=CPU, vcpus=(7, 1, 3))
    assert list(found) == [1, 3, 7]
    assert found == {count: launch_digest(image, cpu=CPU, vcpus=count) for count in (1, 3, 7)}


def test_a_sweep_says_every_input_and_names_its_regions() -> None:
    image = SMALL.build()
    models = (CPU, Cpu.parse("EPYC-Milan"))
    measurements, regions = launch_digests(
        image, vmms=(find_vmm("qemu"), find_vmm("ec2@rdx-0")), cpus=models, vcpus=(1, 2), guest_features=(1, 0x21)
    )
    assert len(measurements) == 2 * 2 * 2 * 2
    assert len(regions) == 2 * 2 * 2
    firmware = f"sha256:{hashlib.sha256(image).hexdigest()}"
    first = measurements[0]
    assert first.status is Status.PREDICTED
    assert dict(first.variant) == {
        "boot": "disk",
        "vmm": "qemu",
        "vmm_revision": "sev-init2",
        "firmware": firmware,
        "cpu": "EPYC-v4",
        "guest_features": "0x1",
        "kernel_hashes": False,
        "vcpus": 1,
    }
    assert first.reason == FIRMWARE_ONLY
    assert {m.origin for m in measurements} == {("regions", name) for name in regions}
    assert len({tuple(m.variant.items()) for m in measurements}) == len(measurements)
    qemu = {m.value for m in measurements if m.variant["vmm"] == "qemu"}
    ec2 = {m.value for m in measurements if m.variant["vmm"] == "ec2"}
    assert (len(qemu), len(ec2)) == (8, 4)  # EC2 puts no CPU signature into the digest


def test_repeated_inputs_are_measured_once() -> None:
    measurements, _ = launch_digests(
        SMALL.build(), vmms=VMMS[:1] * 2, cpus=(CPU, CPU), vcpus=(1, 1), guest_features=(1, 1)
    )
    assert len(measurements) == 1


def test_regions_fold_to_the_digest() -> None:
    image = SMALL.build()
    launch = SnpLaunch(image, kernel=NOTHING)
    numbers = {"normal": 1, "vmsa": 2, "zero": 3, "unmeasured": 4, "secrets": 5, "cpuid": 6}
    for vmm in VMMS:
        firmware, *rest, first, further = launch.regions(vmm, cpu=CPU, vcpus=3)
        assert firmware.digest == firmware_digest(image)
        digest = launch.firmware_seed
        for region in (*rest, first, further, further):
            for offset in range(0, region.length, 4096):
                info = struct.pack("<HB5xQ", 0x70, numbers[region.page_type], region.gpa + offset)
                digest = hashlib.sha384(digest + (region.digest or bytes(48)) + info).digest()
        assert digest == launch.digests(vmm, cpu=CPU, vcpus=(3,))[3]


def test_with_a_kernel_the_image_is_identified() -> None:
    measurements, _ = launch_digests(SMALL.build(), vmms=VMMS[:1], cpus=(CPU,), vcpus=(1,), kernel=NOTHING)
    assert measurements[0].variant["boot"] == "direct"
    assert measurements[0].variant["kernel_hashes"] is True
    assert measurements[0].reason is None
    assert [basis.kind for basis in measurements[0].basis] == ["firmware", "image"]
    assert identify(NOTHING, VMMS[:1]).value
    assert not identify(None, VMMS[:1]).value
    assert not identify(NOTHING, (find_vmm("ec2"),)).value


def test_a_kernel_under_a_vmm_that_loads_none_is_marked() -> None:
    measurements, _ = launch_digests(SMALL.build(), vmms=(find_vmm("ec2"),), cpus=(CPU,), vcpus=(1,), kernel=NOTHING)
    assert "not known to load a kernel" in (measurements[0].reason or "")


def test_with_a_seed_the_firmware_is_named_by_it() -> None:
    image = SMALL.build()
    seed = firmware_digest(image)
    measurements, regions = launch_digests(image, vmms=VMMS[:1], cpus=(CPU,), vcpus=(1,), firmware_seed=seed)
    assert measurements[0].variant["firmware"] == f"snp-seed:{seed.hex()}"
    (listed,) = regions.values()
    assert listed[0].digest == seed


@pytest.mark.parametrize(
    ("firmware", "code"),
    [
        pytest.param(replace(SMALL, sev=None), "PVB223", id="no-metadata"),
        pytest.param(replace(SMALL, hash_table=None), "PVB224", id="no-table"),
        pytest.param(replace(SMALL, hash_table=(0, 0)), "PVB224", id="table-at-zero"),
        pytest.param(replace(SMALL, sev=fw.AMDSEV_SECTIONS[:-1]), "PVB224", id="no-section"),
        pytest.param(replace(SMALL, sev=(*fw.AMDSEV_SECTIONS[:-1], (0, 0, 16))), "PVB224", id="section-of-size-zero"),
        pytest.param(replace(SMALL, hash_table=(0x811C00, 0x400)), "PVB224", id="table-outside-its-section"),
        pytest.param(replace(SMALL, hash_table=(0x810C00, 175)), "PVB224", id="table-too-small"),
        pytest.param(replace(SMALL, hash_table=(0x810F60, 0x400)), "PVB224", id="table-over-the-page"),
        pytest.param(replace(SMALL, hash_table=(0xFFFFFF00, 0x400)), "PVB222", id="table-past-4-gib"),
    ],
)
def test_kernel_hashes_that_the_firmware_cannot_take(firmware: fw.Firmware, code: str) -> None:
    with pytest.raises(FormatError) as caught:
        SnpLaunch(firmware.build(), kernel=NOTHING)
    assert caught.value.code == code


def test_several_vcpus_need_a_reset_block() -> None:
    image = replace(SMALL, reset=None).build()
    assert len(launch_digest(image, cpu=CPU)) == 48
    with pytest.raises(FormatError) as caught:
        launch_digest(image, cpu=CPU, vcpus=2)
    assert caught.value.code == "PVB233"


@pytest.mark.parametrize("vcpus", [0, -1, 4097])
def test_impossible_vcpu_counts(vcpus: int) -> None:
    with pytest.raises(InputError) as caught:
        launch_digest(SMALL.build(), cpu=CPU, vcpus=vcpus)
    assert caught.value.code == "PVB227"


@pytest.mark.parametrize("features", [0, 0x20, 1 << 64, -1])
def test_impossible_guest_features(features: int) -> None:
    with pytest.raises(InputError) as caught:
        launch_digest(SMALL.build(), cpu=CPU, guest_features=features)
    assert caught.value.code == "PVB230"


def test_revisions_of_qemu_differ_in_the_fpu_state_alone() -> None:
    new, old = (
        vmsa_page(find_vmm(name), start=RESET_VECTOR, first=True, signature=1, guest_features=1)
        for name in ("qemu", "qemu@before-sev-init2")
    )
    assert [i for i in range(4096) if new[i] != old[i]] == [0x408, 0x409, 0x410, 0x411]
    assert old[0x408:0x412] == bytes(10)


def test_real_firmware_of_the_tools_tree(debian_ovmf: bytes) -> None:
    """Debian 13's OVMF starts SNP guests, and takes no kernel hashes."""
    assert len(launch_digest(debian_ovmf, cpu=CPU, vcpus=4)) == 48
    with pytest.raises(FormatError) as caught:
        SnpLaunch(debian_ovmf, kernel=NOTHING)
    assert caught.value.code == "PVB224"
