"""What a boot is held to: never a row of another machine, and nothing computed from a disk that was changed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from podvm_builder.boot import prove
from podvm_builder.boot.expect import Expectation, expect
from podvm_builder.boot.firmware import BootFirmware
from podvm_builder.boot.folder import BuildOutput
from podvm_builder.boot.machine import Machine
from podvm_builder.boot.userdata import INITDATA, initdata_text
from podvm_builder.formats.ovmf import HashTableArea
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.tpm import predict_tpm
from podvm_builder.measure.tpm_boot import TpmBoot
from podvm_builder.model.manifest import ImageManifest
from podvm_builder.model.measurement import Identification, MeasurementSet
from podvm_builder.tools.files import FileReader
from tests.support.disk import ESP, build_disk, build_fat
from tests.support.pe import build_uki

FIRMWARE = BootFirmware(path="/fw.fd", sha256="00" * 32, variables=Path("vars.fd"))


@pytest.fixture
def built(tmp_path: Path) -> BuildOutput:
    """A disk with a UKI, and the predictions for a boot from it without secure boot."""
    image = tmp_path / "image.raw"
    image.write_bytes(build_disk([(ESP, build_fat({"EFI/BOOT/BOOTX64.EFI": build_uki()}))]))
    with FileReader(image) as reader:
        (found,) = predict_tpm(read_boot_artifacts(reader), [TpmBoot(separators=False)])
    return BuildOutput(
        image=image,
        manifest=cast(ImageManifest, type("Manifest", (), {"files": {}, "phases": ()})),
        measurements=MeasurementSet(
            target="debian-13/none/libvirt",
            ids={},
            identifies_image=Identification(value=True, by=(), reason="test"),
            logs={"disk": found.log},
            regions={},
            measurements=found.measurements,
        ),
    )


def held(
    built: BuildOutput, machine: Machine, *, genuine: bool = True, firmware: BootFirmware = FIRMWARE
) -> Expectation:
    return expect(built, machine, firmware, image=built.image, genuine=genuine, keys=None)


def values(expectation: Expectation, origin: str) -> set[int]:
    return {prove.number(row) for row in expectation.rows if row.origin == ("log", origin)}


def test_the_documents_own_machine_is_held_to_the_document(built: BuildOutput) -> None:
    found = held(built, Machine())
    # the init data is this boot's own
    assert found.computed == ("tpm.pcr08",)
    assert values(found, "disk") >= {4, 5, 7, 9, 11, 12, 13, 14}
    (bound,) = [row for row in found.rows if row.origin == ("log", prove.COMPUTED)]
    digest = hashlib.sha256(initdata_text(INITDATA)).digest()
    assert (bound.alg, bound.value) == ("sha256", hashlib.sha256(bytes(32) + digest).digest())


def test_another_state_of_secure_boot_is_computed_where_it_matters(built: BuildOutput) -> None:
    found = held(built, Machine(secure_boot="off"))
    assert found.computed == ("tpm.pcr04", "tpm.pcr07", "tpm.pcr08")
    assert values(found, prove.COMPUTED) == {4, 7, 8}
    assert values(found, "disk") >= {5, 9, 11, 12, 13, 14}
    document = {prove.key(row): row.value for row in built.measurements.measurements}
    assert all(row.value != document[prove.key(row)] for row in found.rows if prove.number(row) == 7)
    # each register and bank has one row
    assert len({prove.key(row) for row in found.rows}) == len(found.rows)


def test_a_direct_boot_is_computed_whole_where_the_document_has_none(built: BuildOutput) -> None:
    found = held(built, Machine(boot="direct"))
    assert values(found, "disk") == set()
    assert values(found, prove.COMPUTED) >= {4, 5, 7, 9, 11, 12, 13, 14}
    assert found.log == found.logs[prove.COMPUTED]
    assert not any(event.subject == "partition table" for event in found.log)


def test_a_changed_disk_is_held_to_the_document_alone(built: BuildOutput) -> None:
    with built.image.open("ab") as file:
        file.write(bytes(512))
    found = held(built, Machine(secure_boot="off"), genuine=False)
    assert found.computed == ()
    assert values(found, "disk") >= {5, 9, 11, 12, 13, 14}
    assert not {4, 7} & {prove.number(row) for row in found.rows if row.value is not None}
    assert not held(built, Machine(boot="direct"), genuine=False).any


def test_firmware_with_habits_is_not_held_to_what_other_firmware_measures(built: BuildOutput) -> None:
    hashing = replace(FIRMWARE, hash_table=HashTableArea(gpa=0x810C00, size=0x400))
    for boot in ("disk", "direct"):
        found = held(built, Machine(boot=boot), firmware=hashing)
        for row in found.rows:
            if prove.number(row) in (4, 5):
                assert row.value is None
                assert "habit" in str(row.reason) or "twice" in str(row.reason)
