"""``evidence learn`` and the three commands that take a platform profile, as users run them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podvm_builder.cli.app import run
from podvm_builder.formats.documents import measurements_from_json
from podvm_builder.formats.eventlog import EVENT_NAMES, EventLog, LogEvent, encode_event_log
from podvm_builder.formats.varstore import GLOBAL
from podvm_builder.measure.boot_log import variable_data
from podvm_builder.measure.rtmr import register_of
from podvm_builder.measure.tdx_machine import UI_APP_ALONE
from podvm_builder.model.event import Event
from podvm_builder.model.measurement import MeasurementSet, Status
from tests.support import acpi
from tests.support import firmware as fw
from tests.support.disk import ESP, build_disk, build_fat
from tests.support.manifests import QEMU, build, evidence, write_folder
from tests.support.pe import build_uki
from tests.support.varstore import build_store

NUMBERS = {name: number for number, name in EVENT_NAMES.items()}
SIZE = 1 << 20
VOLUME = SIZE // 8 & ~0xFFF
BOOTS = "own-boots/257nosb/eventlog.bin"
TDX = ("--firmware", "OVMF.fd", "--ovmf-layout", "edk2-202411", "--secure-boot", "absent")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_vectors: Path) -> Path:
    """Go to a folder with two images, a firmware, and the log of a boot."""
    monkeypatch.chdir(tmp_path)
    for name, uki in (("one", build_uki()), ("other", build_uki(cmdline=b"other"))):
        (tmp_path / f"{name}.efi").write_bytes(uki)
        disk = build_disk([(ESP, build_fat({"EFI/BOOT/BOOTX64.EFI": uki}, bits=12, cluster=4))])
        (tmp_path / f"{name}.raw").write_bytes(disk)
    image = fw.Firmware(size=SIZE, unique_pages=4).build()
    (tmp_path / "OVMF.fd").write_bytes(build_store([], size=VOLUME) + image[VOLUME:])
    (tmp_path / "changed.fd").write_bytes(build_store([], size=VOLUME)[:-1] + b"x" + image[VOLUME:])
    (tmp_path / "tables").write_bytes(acpi.blob(cpus=2))
    (tmp_path / "log").write_bytes((own_vectors / BOOTS).read_bytes())
    return tmp_path


def _json(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> Any:
    assert run([*args, "--format", "json"]) == code
    return json.loads(capsys.readouterr().out)


def _measure(capsys: pytest.CaptureFixture[str], *args: str) -> MeasurementSet:
    return measurements_from_json(_json(capsys, "measure", *args))


def _fails(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert run(list(args)) == 2
    return capsys.readouterr().err


def _values(found: MeasurementSet, *pcrs: int) -> dict[str, bytes | None]:
    names = {f"tpm.pcr{pcr:02d}" for pcr in pcrs}
    return {f"{row.register}:{row.alg}": row.value for row in found.measurements if row.register in names}


def test_a_profile_fills_the_platforms_registers(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    said = _json(capsys, "evidence", "learn", "log", "-o", "platform.json", "--vmm", "qemu", "--machine", "q35")
    assert (said["kind"], said["boot"], said["secure_boot"]) == ("tpm", "disk", "absent")
    assert said["facts"] == {"log": said["facts"]["log"], "vmm": "qemu", "machine": "q35"}
    assert all(row["lacks"] is None for row in said["registers"])
    registers = {
        (row["register"], row["alg"]): row["value"] for row in _json(capsys, "eventlog", "replay", "log")["registers"]
    }
    found = _measure(capsys, "tpm", "--image", "one.raw", "--platform", "platform.json")
    for row in found.measurements:
        if row.register[-2:] in ("00", "01", "02", "03", "06", "07"):
            assert row.status is Status.PLATFORM
            assert row.value is not None
            assert row.value.hex() == registers[row.register, row.alg]
            assert [basis.kind for basis in row.basis] == ["platform-profile"]
            assert row.basis[0].digest == said["digest"]
    # this firmware has no habits: what the image decides is as it was
    plain = _measure(capsys, "tpm", "--image", "one.raw")
    assert _values(found, 4, 5, 9, 11, 12) == _values(plain, 4, 5, 9, 11, 12)
    assert found.identifies_image.value
    assert run(["measure", "tpm", "--image", "one.raw", "--platform", "platform.json", "--explain", "tpm.pcr00"]) == 0
    assert "platform profile" in capsys.readouterr().out


def test_text(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    assert run(["evidence", "learn", "log", "-o", "platform.json"]) == 0
    out = capsys.readouterr().out
    assert "boot     disk, secure boot absent" in out
    assert "tpm.pcr00" in out


def test_what_does_not_fit_is_refused(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    assert run(["evidence", "learn", "log", "-o", "platform.json"]) == 0
    tpm = ("measure", "tpm", "--image", "one.raw", "--platform", "platform.json")
    assert "PVB262" in _fails(capsys, *tpm, "--secure-boot", "off")
    assert "PVB262" in _fails(capsys, *tpm, "--boot", "direct")
    assert "PVB264" in _fails(capsys, *tpm[:-1], "tables")
    tdx = ("--firmware", "OVMF.fd", "--secure-boot", "absent")
    assert "PVB262" in _fails(capsys, "measure", "tdx", *tdx, "--image", "one.raw", "--platform", "platform.json")
    assert "PVB216" in _fails(capsys, "measure", "tdx", *TDX, "--memory", "2G", "--platform", "platform.json")
    assert "PVB263" in _fails(capsys, "evidence", "learn", "log", "-o", "x", "--kind", "ccel")
    assert "PVB244" in _fails(capsys, "evidence", "learn", "tables", "-o", "x")
    assert not Path("x").exists()


def _ccel(events: Sequence[Event]) -> bytes:
    """Write a prediction as the log of the trust domain that it is of."""
    found = tuple(
        LogEvent(index=register + 1, kind=NUMBERS[event.kind], digests=event.digests, data=_data(event))
        for event in events
        if (register := register_of(event.pcr)) is not None
    )
    return encode_event_log(EventLog(crypto_agile=True, algorithms=("sha384",), events=found))


def _data(event: Event) -> bytes:
    """Return an event's data as a log has it; a prediction keeps none of boot entries: here the firmware's."""
    if event.kind != "EV_EFI_VARIABLE_BOOT":
        return event.data
    name = event.subject.rpartition(" ")[2]
    return variable_data(GLOBAL, name, UI_APP_ALONE[name])


def test_rtmr_0_of_a_trust_domain(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    machine = ("--memory", "2G", "--acpi-tables", "tables")
    direct = _measure(capsys, "tdx", *TDX, *machine, "--uki", "one.efi")
    settings, rest = (
        next(direct.logs[row.origin[1]] for row in direct.measurements if row.register == name and row.origin)
        for name in ("tdx.rtmr0", "tdx.rtmr1")
    )
    # the order between registers does not matter, but for the separator that ends the variables
    (place / "ccel").write_bytes(_ccel([*settings, *rest]))
    assert run(["evidence", "learn", "ccel", "-o", "td.json", "--firmware", "OVMF.fd"]) == 0
    capsys.readouterr()
    options = (*TDX[:2], *TDX[4:], "--uki", "other.efi", "--platform", "td.json")
    found = _measure(capsys, "tdx", *options)
    rows = {row.register: row for row in found.measurements}
    expected = {row.register: row for row in _measure(capsys, "tdx", *TDX, *machine, "--uki", "other.efi").measurements}
    for name in ("tdx.rtmr0", "tdx.rtmr1", "tdx.rtmr2"):
        assert rows[name].value == expected[name].value is not None, name
    assert (rows["tdx.rtmr0"].status, rows["tdx.rtmr1"].status) == (Status.PLATFORM, Status.PREDICTED)
    other = ("changed.fd", *options[2:])
    assert "PVB262" in _fails(capsys, "measure", "tdx", "--firmware", *other)


def test_a_profile_of_other_variables_is_refused(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    machine = ("--memory", "2G", "--acpi-tables", "tables")
    direct = _measure(capsys, "tdx", *TDX, *machine, "--uki", "one.efi")
    logs = [event for log in direct.logs.values() for event in log if event.pcr in (1, 7)]
    (place / "ccel").write_bytes(_ccel(logs))
    assert run(["evidence", "learn", "ccel", "-o", "td.json"]) == 0
    capsys.readouterr()
    said = _fails(capsys, "measure", "tdx", "--firmware", "changed.fd", "--boot", "disk", "--platform", "td.json")
    assert "PVB262" in said
    assert "variables" in said


def test_a_whole_image(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    platform = replace(QEMU, firmware="")
    manifest, disk, uki = build("debian-13/snp/libvirt", platform, evidence("tpm", "tpm.pcr04", "tpm.pcr11"))
    write_folder(place, manifest, disk, uki)
    assert run(["evidence", "learn", "log", "-o", "platform.json", "--vmm", "qemu"]) == 0
    capsys.readouterr()
    found = _measure(capsys, "image", ".", "--platform", "platform.json")
    rows = {
        (row.register, row.variant["boot"]): row
        for row in found.measurements
        if row.alg == "sha256" and row.register.startswith("tpm.")
    }
    assert rows["tpm.pcr00", "disk"].value is not None
    # it was learnt from a boot from disk, and says nothing of another one
    assert rows["tpm.pcr00", "direct"].value is None
    assert run(["evidence", "learn", "log", "-o", "gce.json", "--vmm", "gce"]) == 0
    assert "PVB262" in _fails(capsys, "measure", "image", ".", "--platform", "gce.json")
