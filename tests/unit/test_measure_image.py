"""A whole image: every register of its evidence has a row, and what the rows identify is said truly."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from podvm_builder.catalog.ovmf import BUILDS, Build
from podvm_builder.errors import InputError
from podvm_builder.formats.documents import measurements_from_json, measurements_to_json
from podvm_builder.formats.kernel_hashes import KernelHashes
from podvm_builder.formats.manifest import manifest_from_json, manifest_to_json
from podvm_builder.formats.readers import BytesReader
from podvm_builder.measure.image import measure_image
from podvm_builder.measure.inputs import Cpu
from podvm_builder.measure.rtmr import fold as fold_rtmr
from podvm_builder.measure.snp import launch_digest
from podvm_builder.measure.tdx import mrtd
from podvm_builder.model.manifest import ImageManifest
from podvm_builder.model.measurement import Measurement, MeasurementSet, Status
from podvm_builder.model.plan import EvidencePlan, PlatformPlan
from podvm_builder.refvalues.values import reference_values
from tests.support.firmware import AMDSEV_SECTIONS, Firmware
from tests.support.manifests import CLOUD, QEMU, build, evidence
from tests.support.pe import build_uki
from tests.support.trees import build_squashfs
from tests.support.varstore import build_store

AMDSEV = Firmware(size=1 << 16, unique_pages=4).build()
PLAIN = Firmware(size=1 << 16, unique_pages=4, hash_table=None, sev=AMDSEV_SECTIONS[:-1]).build()
TPM = ("tpm.pcr04", "tpm.pcr11", "tpm.pcr12")


def _measure(
    target: str, platform: PlatformPlan, said: EvidencePlan, firmware: bytes | None = None, **options: object
) -> MeasurementSet:
    manifest, disk, uki = build(target, platform, said, **options)  # type: ignore[arg-type]
    given = {} if firmware is None else {platform.firmware: firmware}
    found = measure_image(manifest, image=BytesReader(disk), uki=BytesReader(uki), firmware=given)
    assert measurements_from_json(measurements_to_json(found)) == found
    assert (found.target, found.flags, found.evidence) == (target, ("selftest",), said.kind)
    return found


def _of(found: MeasurementSet, register: str, **variant: str | int) -> list[Measurement]:
    return [
        row
        for row in found.measurements
        if row.register == register and all(row.variant.get(key) == value for key, value in variant.items())
    ]


def test_snp_with_kernel_hashes_identifies_the_image() -> None:
    found = _measure("debian-13/snp/libvirt", QEMU, evidence("snp", "snp.launch_digest"), AMDSEV)
    kernel = KernelHashes(kernel=hashlib.sha256(build_uki()).digest())
    for vcpus in (1, 2):
        (direct,) = _of(found, "snp.launch_digest", boot="direct", vcpus=vcpus)
        assert direct.value == launch_digest(AMDSEV, cpu=Cpu.parse("EPYC-v4"), vcpus=vcpus, kernel=kernel)
        (disk,) = _of(found, "snp.launch_digest", boot="disk", vcpus=vcpus)
        assert disk.value == launch_digest(AMDSEV, cpu=Cpu.parse("EPYC-v4"), vcpus=vcpus)
        assert [basis.kind for basis in disk.basis] == ["firmware"]
    assert found.identifies_image.value
    assert found.identifies_image.by == ("snp.launch_digest",)
    # such firmware has habits of its own in a direct boot; the boot from disk is that of plain OVMF
    assert {row.status for row in _of(found, "tpm.pcr04", boot="direct")} == {Status.PLATFORM}
    assert {row.status for row in _of(found, "tpm.pcr04", boot="disk")} == {Status.PREDICTED}


def test_snp_with_firmware_that_takes_no_hashes_does_not() -> None:
    found = _measure("debian-13/snp/libvirt", QEMU, evidence("snp", "snp.launch_digest"), PLAIN)
    rows = _of(found, "snp.launch_digest")
    assert {row.variant["boot"] for row in rows} == {"direct", "disk"}
    assert all(row.value is not None and "does not identify the image" in str(row.reason) for row in rows)
    assert not found.identifies_image.value
    assert "snp.launch_digest" in found.identifies_image.reason


@pytest.mark.parametrize(("firmware", "reason"), [(None, "not at hand"), (b"\xff" * 8192, "firmware")])
def test_without_usable_firmware_nothing_is_given_out(firmware: bytes | None, reason: str) -> None:
    found = _measure("debian-13/snp/libvirt", QEMU, evidence("snp", "snp.launch_digest"), firmware)
    (row,) = _of(found, "snp.launch_digest")
    assert (row.status, row.value) == (Status.NOT_COMPUTED, None)
    assert reason in str(row.reason)
    assert not found.identifies_image.value


TDX_VARIABLES = build_store([], size=1 << 18)
TDX_FIRMWARE = TDX_VARIABLES + Firmware(size=1 << 21, unique_pages=4).build()[1 << 18 :]
TDX_EVIDENCE = evidence("tdx", "tdx.rtmr1", "tdx.rtmr2", promised=("tdx.mrtd", "tdx.rtmr1", "tdx.rtmr2"))


def test_tdx_with_firmware_that_is_known_identifies_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Build(version="test", layout="edk2-202411", secure_boot=False, reads_kernel_file=True)
    monkeypatch.setitem(BUILDS, hashlib.sha256(TDX_FIRMWARE).hexdigest(), known)  # type: ignore[arg-type]
    found = _measure("debian-13/tdx/libvirt", QEMU, TDX_EVIDENCE, TDX_FIRMWARE)
    (row,) = _of(found, "tdx.mrtd")
    assert row.value == mrtd(TDX_FIRMWARE)
    for boot in ("disk", "direct"):
        for number in (1, 2):
            (row,) = _of(found, f"tdx.rtmr{number}", boot=boot)
            assert row.value == fold_rtmr(found.logs[f"tdx-{boot}"], number)
            assert "image" in {basis.kind for basis in row.basis}
        (row,) = _of(found, "tdx.rtmr0", boot=boot)
        assert (row.status, "memory" in str(row.reason)) == (Status.PLATFORM, True)
    assert len(_of(found, "tdx.rtmr3")) == 1
    assert found.identifies_image.by == ("tdx.rtmr1", "tdx.rtmr2")
    # the TPM's log of the same boot holds the same digests
    digests = {event.digests["sha384"] for event in found.logs["disk"]}
    assert {event.digests["sha384"] for event in found.logs["tdx-disk"]} <= digests
    names = {value.name for value in reference_values(found).values}
    assert names == {"mr_td", "rtmr_1", "rtmr_2"}


def test_banks_of_the_tpm_do_not_decide_what_a_trust_domain_measures() -> None:
    manifest, disk, uki = build("debian-13/tdx/gcp", replace(CLOUD, vmm="gce"), TDX_EVIDENCE)
    one, all_ = (
        measure_image(manifest, image=BytesReader(disk), uki=BytesReader(uki), firmware={}, banks=banks)
        for banks in (("sha256",), ("sha1", "sha256", "sha384"))
    )
    assert _of(one, "tdx.rtmr1")[0].value == _of(all_, "tdx.rtmr1")[0].value
    assert {row.alg for row in one.measurements if row.register.startswith("tpm.")} == {"sha256"}
    assert all(set(event.digests) == {"sha384"} for event in one.logs["tdx-disk"])


@pytest.mark.parametrize(("firmware", "reason"), [(TDX_FIRMWARE, "is not known here"), (None, "not at hand")])
def test_tdx_says_which_registers_are_missing(firmware: bytes | None, reason: str) -> None:
    found = _measure("debian-13/tdx/libvirt", QEMU, TDX_EVIDENCE, firmware)
    assert [bool(_of(found, f"tdx.rtmr{number}")) for number in range(4)] == [True] * 4
    assert reason in str(_of(found, "tdx.rtmr1")[0].reason)
    assert reason in str(_of(found, "tdx.rtmr0")[0].reason)
    assert not found.identifies_image.value
    assert "tdx.rtmr1" in found.identifies_image.reason


def test_a_cloud_with_a_vtpm() -> None:
    said = evidence("az-snp-vtpm", *TPM, promised=("tpm.pcr04", "tpm.pcr09", "tpm.pcr11", "tpm.pcr12"))
    found = _measure("debian-13/snp/azure", CLOUD, said)
    (launch,) = _of(found, "snp.launch_digest")
    assert launch.status is Status.PLATFORM
    assert {row.status for row in _of(found, "tpm.pcr05")} == {Status.PLATFORM}
    assert {row.status for row in _of(found, "tpm.pcr07")} == {Status.PLATFORM}
    assert (found.identifies_image.value, found.identifies_image.by) == (True, TPM)
    assert set(found.logs) == {"disk"}


def test_tdx_on_google_is_identified_by_what_the_image_decides() -> None:
    found = _measure("debian-13/tdx/gcp", replace(CLOUD, vmm="gce"), TDX_EVIDENCE)
    assert _of(found, "tdx.mrtd")[0].status is Status.PLATFORM
    assert _of(found, "tdx.rtmr0")[0].status is Status.PLATFORM
    assert found.identifies_image.by == ("tdx.rtmr1", "tdx.rtmr2")
    assert _of(found, "tdx.rtmr1")[0].variant["layout"] == "edk2-202411"


@pytest.mark.parametrize(("vmm", "said"), [("hyperv", "paravisor"), ("gce", "grows")])
def test_tdx_of_a_cloud_that_promises_no_such_register(vmm: str, said: str) -> None:
    found = _measure("debian-13/tdx/azure", replace(CLOUD, vmm=vmm), evidence("az-tdx-vtpm", *TPM))
    (row,) = _of(found, "tdx.rtmr1")
    assert (row.status, said in str(row.reason)) == (Status.PLATFORM, True)


def test_without_a_tee_the_tpm_alone() -> None:
    found = _measure("debian-13/none/libvirt", QEMU, evidence("tpm", *TPM), PLAIN)
    assert {row.register.partition(".")[0] for row in found.measurements} == {"tpm"}
    assert len(found.measurements) == 2 * 16 * 3
    assert set(found.logs) == {"disk", "direct"}
    assert found.identifies_image.value


def test_the_word_of_the_catalogue_is_kept_where_it_is_no() -> None:
    found = _measure("debian-13/snp/aws", CLOUD, evidence("snp"))
    assert (found.identifies_image.value, found.identifies_image.reason) == (False, "as the catalogue says")


def test_running_phases_show_in_pcr_11() -> None:
    found = _measure("debian-13/none/libvirt", CLOUD, evidence("tpm", *TPM), phases=("sysinit", "ready"))
    assert {row.variant["phase"] for row in _of(found, "tpm.pcr11")} == {"sysinit", "ready"}


def test_an_unpredictable_register_takes_the_identification_with_it() -> None:
    found = _measure("debian-13/none/libvirt", CLOUD, evidence("tpm", *TPM), uki=build_uki(cmdline=b""))
    assert not found.identifies_image.value
    assert "tpm.pcr12" in found.identifies_image.reason


def test_recorded_phases_do_not_count_against_a_drop_in() -> None:
    library = "usr/lib/systemd/system"
    root = build_squashfs(
        {f"{library}/systemd-pcrphase.service": b"x", f"{library}/systemd-pcrphase.service.d/x.conf": b"x"}
    )
    found = _measure("debian-13/none/libvirt", CLOUD, evidence("tpm", *TPM), phases=("ready",), root=root)
    rows = _of(found, "tpm.pcr11")
    assert {row.status for row in rows} == {Status.UNPREDICTABLE}
    assert "systemd-pcrphase.service" in str(rows[0].reason)
    assert not found.identifies_image.value


def _other(manifest: ImageManifest, name: str) -> ImageManifest:
    record = replace(manifest.files[name], sha256="00" * 32)
    return replace(manifest, files={**manifest.files, name: record})


@pytest.mark.parametrize("workers", [1, 3])
def test_files_of_different_builds_are_refused(workers: int) -> None:
    manifest, disk, uki = build("debian-13/none/libvirt", CLOUD, evidence("tpm", *TPM))
    image = BytesReader(disk)
    for name in ("image.raw", "image.efi"):
        with pytest.raises(InputError, match=f"`{name}` is not the file that the manifest records") as caught:
            measure_image(_other(manifest, name), image=image, uki=BytesReader(uki), firmware={}, workers=workers)
        assert caught.value.code == "PVB247"
    # what is wrong inside a changed file is not what is said of it
    broken = BytesReader(disk[:512] + bytes(1024) + disk[1536:])
    with pytest.raises(InputError, match=r"`image.raw` is not the file"):
        measure_image(manifest, image=broken, uki=BytesReader(uki), firmware={}, workers=workers)
    with pytest.raises(InputError, match="the manifest says"):
        measure_image(manifest, image=image, uki=BytesReader(uki + b"x"), firmware={})
    with pytest.raises(InputError, match="does not list it"):
        measure_image(replace(manifest, files={}), image=image, uki=BytesReader(uki), firmware={})


@pytest.mark.parametrize("firmware", [None, b"no firmware" * 999])
def test_a_direct_boot_under_unknown_firmware_is_not_predicted(firmware: bytes | None) -> None:
    found = _measure("debian-13/snp/libvirt", QEMU, evidence("snp", "snp.launch_digest"), firmware=firmware)
    for register in ("tpm.pcr04", "tpm.pcr05"):
        rows = {row.variant["boot"]: row for row in _of(found, register) if row.alg == "sha256"}
        assert rows["direct"].status is Status.NOT_COMPUTED
        assert ("not at hand" if firmware is None else "firmware `test`: ") in str(rows["direct"].reason)
        assert rows["disk"].value is not None


def test_the_image_is_looked_into() -> None:
    said = evidence("snp", "snp.launch_digest")
    manifest, disk, uki = build("debian-13/snp/libvirt", QEMU, said, root=build_squashfs({"etc/x": b""}))
    readers = {"image": BytesReader(disk), "uki": BytesReader(uki)}
    found = measure_image(manifest, firmware={}, **readers)
    row = next(row for row in found.measurements if row.register == "tpm.pcr15")
    assert row.value == bytes(20)
    with pytest.raises(InputError, match="boot phases") as caught:
        measure_image(replace(manifest, phases=("sysinit",)), firmware={}, **readers)
    assert caught.value.code == "PVB247"


def test_what_the_profile_says_of_machines_reaches_the_reference_values() -> None:
    manifest, disk, uki = build("debian-13/snp/libvirt", QEMU, evidence("snp", "snp.launch_digest"))
    told = replace(manifest, trust={"snp_microcode": (209, 210)}, platform=replace(QEMU, boot=("direct",)))
    read = manifest_from_json(json.loads(json.dumps(manifest_to_json(told))))
    found = measure_image(read, image=BytesReader(disk), uki=BytesReader(uki), firmware={"test": AMDSEV})
    found = measurements_from_json(measurements_to_json(found))
    assert (found.boots, found.facts) == (("direct",), {"snp_microcode": (209, 210)})
    values = {one.name: one.value for one in reference_values(found).values}
    assert values["snp_microcode"] == (209, 210)
    assert len(values["snp_launch_measurement"]) == 2
