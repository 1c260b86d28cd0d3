"""The check of an image's units before a boot: what it finds ends the boot, what it cannot read does not."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from podvm_builder.boot.units import check_image_units
from podvm_builder.errors import Finding
from tests.support.disk import ESP, ROOT, build_disk, build_fat
from tests.support.pe import build_uki
from tests.support.trees import build_squashfs
from tests.unit.guest.test_unit_check import GOOD

GENERATOR = "usr/lib/systemd/system-generators/systemd-debug-generator"


def disk(folder: Path, *partitions: tuple[UUID, bytes], cmdline: bytes = b"quiet") -> Path:
    esp = build_fat({"EFI/BOOT/BOOTX64.EFI": build_uki(cmdline=cmdline)}, bits=12, cluster=4)
    image = folder / "image.raw"
    image.write_bytes(build_disk([(ESP, esp), *partitions]))
    return image


def test_an_image_whose_units_can_start(tmp_path: Path) -> None:
    assert check_image_units(disk(tmp_path, (ROOT, build_squashfs(GOOD)))) == ()
    assert check_image_units(disk(tmp_path)) == ()


def test_an_image_whose_units_cannot(tmp_path: Path) -> None:
    faulty = {**GOOD, GENERATOR: b"x"}
    faulty["etc/systemd/system/process-user-data.service.d/x.conf"] = b"[Unit]\nRequires=\x1b[1m.path\n"
    image = disk(tmp_path, (ROOT, build_squashfs(faulty)), cmdline=b"systemd.mask=kata-agent")
    with pytest.raises(Finding) as caught:
        check_image_units(image)
    assert caught.value.code == "PVB540"
    assert "\n  | `kata-agent.path` starts `kata-agent.service`, which is masked" in caught.value.message
    assert "requires `\N{REPLACEMENT CHARACTER}[1m.path`" in caught.value.message
    del faulty[GENERATOR]
    with pytest.raises(Finding) as caught:
        check_image_units(disk(tmp_path, (ROOT, build_squashfs(faulty)), cmdline=b"systemd.mask=kata-agent"))
    assert "masked" not in caught.value.message


def test_what_is_amiss_with_other_units_is_a_note(tmp_path: Path) -> None:
    loose = {**GOOD, "etc/systemd/system/multi-user.target.wants/\x1b[1m.path": "../absent.path"}
    (note,) = check_image_units(disk(tmp_path, (ROOT, build_squashfs(loose))))
    assert note == "`/etc/systemd/system/multi-user.target.wants/\N{REPLACEMENT CHARACTER}[1m.path` leads to no unit"


def test_what_cannot_be_read_is_not_judged(tmp_path: Path) -> None:
    image = tmp_path / "image.raw"
    image.write_bytes(b"no disk")
    for case in (image, disk(tmp_path, (ROOT, bytes(8192)))):
        (note,) = check_image_units(case)
        assert note.startswith("the units of the image were not checked: ")
