"""A whole image: every register of its evidence has a row, and what the rows identify is said truly."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from podvm_builder.errors import InputError
from podvm_builder.formats.documents import measurements_from_json, measurements_to_json
from podvm_builder.formats.kernel_hashes import KernelHashes
from podvm_builder.formats.readers import BytesReader
from podvm_builder.measure.image import measure_image
from podvm_builder.measure.inputs import Cpu
from podvm_builder.measure.snp import launch_digest
from podvm_builder.measure.tdx import mrtd
from podvm_builder.model.manifest import ImageManifest
from podvm_builder.model.measurement import Measurement, MeasurementSet, Status
from podvm_builder.model.plan import EvidencePlan, PlatformPlan
from tests.support.firmware import AMDSEV_SECTIONS, Firmware
from tests.support.manifests import CLOUD, QEMU, build, evidence
from tests.support.pe import build_uki
from tests.support.trees import build_squashfs

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


def test_tdx_says_which_registers_are_missing() -> None:
    firmware = Firmware(size=1 << 21, unique_pages=4).build()
    found = _measure("debian-13/tdx/libvirt", QEMU, evidence("tdx", "tdx.rtmr1", "tdx.rtmr2"), firmware)
    (row,) = _of(found, "tdx.mrtd")
    assert row.value == mrtd(firmware)
    assert [bool(_of(found, f"tdx.rtmr{number}")) for number in range(4)] == [True] * 4
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


def test_tdx_of_a_cloud_has_no_values_of_its_firmware() -> None:
    found = _measure("debian-13/tdx/gcp", replace(CLOUD, vmm="gce"), evidence("tdx", "tdx.rtmr1", "tdx.rtmr2"))
    assert _of(found, "tdx.mrtd")[0].status is Status.PLATFORM
    assert len([row for row in found.measurements if row.register.startswith("tdx.rtmr")]) == 4


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


def _other(manifest: ImageManifest, name: str) -> ImageManifest:
    record = replace(manifest.files[name], sha256="00" * 32)
    return replace(manifest, files={**manifest.files, name: record})


def test_files_of_different_builds_are_refused() -> None:
    manifest, disk, uki = build("debian-13/none/libvirt", CLOUD, evidence("tpm", *TPM))
    image = BytesReader(disk)
    with pytest.raises(InputError, match="is not the `image") as caught:
        measure_image(_other(manifest, "image.efi"), image=image, uki=BytesReader(uki), firmware={})
    assert caught.value.code == "PVB247"
    with pytest.raises(InputError, match="the manifest says"):
        measure_image(manifest, image=image, uki=BytesReader(uki + b"x"), firmware={})
    with pytest.raises(InputError, match="does not list it"):
        measure_image(replace(manifest, files={}), image=image, uki=BytesReader(uki), firmware={})


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
