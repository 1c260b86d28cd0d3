"""Run-time registers against real trust domains: four logs with their quotes' values, and published registers."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podvm_builder.catalog.ovmf import LAYOUTS, Layout
from podvm_builder.formats.acpi import AcpiFiles, derive_files
from podvm_builder.formats.eventlog import EventLog, LogEvent, parse_event_log
from podvm_builder.formats.readers import BytesReader
from podvm_builder.formats.tdvf import TdxSection, TdxType
from podvm_builder.measure.boot_log import DIRECT, DISK, boot_log
from podvm_builder.measure.rtmr import fold, register_of, runtime_log
from podvm_builder.measure.secure_boot import Keys
from podvm_builder.measure.tdx import read_sections
from podvm_builder.measure.tdx_boot import FILE, firmware_boot, kernel_boot
from podvm_builder.measure.tdx_firmware import read_firmware
from podvm_builder.measure.tdx_machine import UI_APP_ALONE, TdxMachine, machine_log
from podvm_builder.measure.tdx_registers import measure_rtmrs
from podvm_builder.measure.uki_digests import UkiDigests
from podvm_builder.model.event import Event
from tests.support.pe import build_kernel

OLD, MIDDLE = LAYOUTS["edk2-before-202411"], LAYOUTS["edk2-202411"]
NO_ACPI = AcpiFiles(loader=b"", rsdp=b"", tables=b"")
# OVMF of 2023 and 2024, whose metadata a quote's own log gives away by the digest of its TD HOB
SECTIONS = tuple(
    TdxSection(kind=kind, gpa=gpa, size=size, data_offset=0, data_size=0, extended=False)
    for kind, gpa, size in (
        (TdxType.TEMP_MEM, 0x810000, 0x10000),
        (TdxType.TEMP_MEM, 0x80B000, 0x2000),
        (TdxType.TD_HOB, 0x809000, 0x2000),
        (TdxType.TEMP_MEM, 0x800000, 0x6000),
    )
)


def _log(vectors: Path, name: str) -> EventLog:
    return parse_event_log((vectors / "tdx" / name).read_bytes())


def _values(vectors: Path, name: str) -> list[bytes]:
    expected = json.loads((vectors / "expected.json").read_text(encoding="utf-8"))
    return [bytes.fromhex(value) for value in expected["files"][f"tdx/{name}"]["rtmrs"]]


def _of(log: EventLog, register: int) -> list[LogEvent]:
    return [event for event in log.events if event.index == register + 1]


def _sha384(data: bytes) -> bytes:
    return hashlib.sha384(data).digest()


def _direct(log: EventLog) -> tuple[Event, ...]:
    """Return our log of a direct kernel boot, with the digests of files that the vector does not give."""
    application = next(event for event in log.events if event.name == "EV_EFI_BOOT_SERVICES_APPLICATION")
    options, initrd = (event.digests["sha384"] for event in log.events if event.name == "EV_EVENT_TAG")
    digests = UkiDigests(
        file=b"",
        uki={"sha384": application.digests["sha384"]},
        kernel=None,
        sections={},
        initrd={"sha384": initrd},
    )
    events = boot_log(digests, ("sha384",), boot=DIRECT, secure_boot="absent", gpt=None, cmdline="unknown")
    return tuple(
        replace(event, digests={"sha384": options}) if event.subject == "command line" else event for event in events
    )


def test_a_direct_kernel_boot_gives_the_quotes_rtmr_1_and_2(vectors: Path) -> None:
    name = "ccel-ovmf-direct-kernel.bin"
    log, values = _log(vectors, name), _values(vectors, name)
    runtime = runtime_log(_direct(log), OLD)
    assert [fold(runtime, register) for register in (1, 2)] == values[1:3]
    # the newer layout puts a separator into RTMR 1 that this firmware did not
    assert fold(runtime_log(_direct(log), MIDDLE), 1) != values[1]


def test_a_direct_kernel_boots_rtmr_0_event_by_event(vectors: Path) -> None:
    log = _log(vectors, "ccel-ovmf-direct-kernel.bin")
    machine = TdxMachine(memory=2048 << 20, acpi=NO_ACPI, entries=UI_APP_ALONE)
    # every Debian build of 4 MiB without variables has the volume that this one had
    ours = machine_log(b"", SECTIONS, machine, OLD, runtime_log(_direct(log), OLD))
    real = [event for event in _of(log, 0) if event.name != "EV_EFI_PLATFORM_FIRMWARE_BLOB2"]
    assert [event.kind for event in ours] == [event.name for event in real]
    for event, other in zip(ours, real, strict=True):
        if event.data != b"ACPI DATA":
            assert event.digests["sha384"] == other.digests["sha384"], event.subject


def _data(event: LogEvent) -> bytes:
    """Return a variable's value out of UEFI_VARIABLE_DATA."""
    units, size = struct.unpack_from("<QQ", event.data, 16)
    return event.data[32 + 2 * units : 32 + 2 * units + size]


@pytest.mark.parametrize(
    ("name", "state", "layout"),
    [("ccel-ubuntu-shim-grub.bin", "on", OLD), ("ccel-cos-113.bin", "off", MIDDLE)],
)
def test_real_keys_and_what_comes_around_them(vectors: Path, name: str, state: str, layout: Layout) -> None:
    log = _log(vectors, name)
    held = [_data(event) for event in log.events if event.name == "EV_EFI_VARIABLE_DRIVER_CONFIG"]
    keys = Keys(pk=held[1], kek=held[2], db=held[3], dbx=held[4])
    boot = firmware_boot(DISK, secure_boot=state, keys=keys)
    runtime = runtime_log(boot.log, layout)
    variables = [event for event in runtime if event.kind == "EV_EFI_VARIABLE_DRIVER_CONFIG"]
    real = [event for event in log.events if event.name == "EV_EFI_VARIABLE_DRIVER_CONFIG"]
    assert [(event.digests["sha384"], event.data) for event in variables] == [
        (event.digests["sha384"], event.data) for event in real
    ]
    # the separators stand in the registers where this layout has them
    for register in (0, 1):
        count = len([event for event in _of(log, register) if event.name == "EV_SEPARATOR"])
        assert count == len([e for e in runtime if e.kind == "EV_SEPARATOR" and register_of(e.pcr) == register])
    actions = [event.digests["sha384"] for event in runtime if event.kind == "EV_EFI_ACTION"]
    seen = [event.digests["sha384"] for event in _of(log, 1) if event.name == "EV_EFI_ACTION"]
    assert actions[0] == seen[0] and actions[1:] == seen[-2:]


@pytest.mark.parametrize(
    ("mib", "digest"), [(2048, "0b8772e5b0b41b83"), (8192, "2e070cda358b5aa0"), (10240, "05dc148f05a03508")]
)
def test_the_memory_map_of_real_guests(mib: int, digest: str) -> None:
    machine = TdxMachine(memory=mib << 20, acpi=NO_ACPI, entries={})
    boot = firmware_boot(DIRECT, secure_boot="absent", keys=None)
    first = machine_log(b"", SECTIONS, machine, MIDDLE, runtime_log(boot.log, MIDDLE))[0]
    assert first.digests["sha384"].hex()[:16] == digest


def _dstack(vectors: Path) -> tuple[bytes, list[dict[str, Any]], dict[str, Any]]:
    report = json.loads((vectors / "tdx" / "dstack-quote-report.json").read_text(encoding="utf-8"))
    return bytes.fromhex(report["quote"]), json.loads(report["event_log"]), json.loads(report["vm_config"])


def _dstack_digest(event: dict[str, Any]) -> bytes:
    if event["digest"]:
        return bytes.fromhex(event["digest"])
    payload = bytes.fromhex(event["event_payload"])
    return _sha384(struct.pack("<I", event["event_type"]) + b":" + event["event"].encode() + b":" + payload)


def test_a_quotes_registers_are_the_fold_of_its_log(vectors: Path) -> None:
    quote, events, _ = _dstack(vectors)
    pcrs = {0: 1, 1: 4, 2: 8}
    ours = [
        Event(pcr=pcrs[e["imr"]], kind="", digests={"sha384": _dstack_digest(e)}, subject="", source="")
        for e in events
        if e["imr"] in pcrs
    ]
    # TD report body in a quote of version 4: RTMR 0 stands 376 bytes behind the 48 bytes of the header
    registers = [quote[48 + 328 + 48 * index :][:48] for index in range(3)]
    assert [fold(ours, register) for register in range(3)] == registers


def test_a_guest_with_64_gib_measures_the_events_of_our_log(vectors: Path) -> None:
    _, events, machine = _dstack(vectors)
    boot = firmware_boot(DIRECT, secure_boot="absent", keys=None)
    runtime = runtime_log(boot.log, MIDDLE)
    ours = machine_log(b"", SECTIONS, TdxMachine(memory=machine["memory_size"], acpi=NO_ACPI), MIDDLE, runtime)
    real = [e for e in events if e["imr"] == 0 and e["event_type"] != 0x8000000A]
    assert len(ours) == len(real)
    for event, other in zip(ours, real, strict=True):
        if event.data != b"ACPI DATA":
            assert event.digests["sha384"].hex() == other["digest"], event.subject
    separators = [e["imr"] for e in events if e["event_type"] == 4]
    assert separators == [register_of(event.pcr) for event in runtime if event.kind == "EV_SEPARATOR"]


def test_rtmr_0_of_a_published_machine(vectors: Path, debian_ovmf: bytes) -> None:
    firmware = read_firmware(debian_ovmf)
    if firmware.build is None:
        pytest.skip("another build of OVMF than the published value's")
    acpi = derive_files((vectors / "tdx" / "acpi-canonical-2048m.bin").read_bytes())
    rows, logs = measure_rtmrs(
        firmware_boot(DIRECT, secure_boot="absent", keys=firmware.keys),
        firmware=firmware,
        layout=firmware.layout,
        layout_reason=firmware.layout_reason,
        machines=[TdxMachine(memory=2048 << 20, acpi=acpi)],
    )
    assert rows[0].value is not None
    assert rows[0].value.hex() == (
        "e1cf95c7fedaa78087b3eb237148869f804642b7939d59c8825db269ffadf190d4a7fd4f44d9b10ba7ff44c12dd564f5"
    )
    assert rows[0].origin is not None
    assert fold(logs[rows[0].origin[1]], 0) == rows[0].value
    assert len(read_sections(debian_ovmf)) == 6


# a published command line and the RTMR 2 that goes with it, of a kernel without an initrd
KATA = (
    "tsc=reliable no_timer_check rcupdate.rcu_expedited=1 i8042.direct=1 i8042.dumbkbd=1 i8042.nopnp=1 i8042.noaux=1 "
    "noreplace-smp reboot=k cryptomgr.notests net.ifnames=0 pci=lastbus=0 "
    'dm-mod.create="dm-verity,,,ro,0 772096 verity 1 /dev/vda1 /dev/vda2 4096 4096 96512 0 sha256 '
    "768cd7e848f6cb7eb4f59467b26ee5c5e45ece570cb96a5c952d97dbc89bb150 "
    '63f8dacc786bd19f307be8668c7792a8fe07818df4aae55b63e76c4931d35c76" root=/dev/dm-0 '
    "rootflags=data=ordered,errors=remount-ro ro rootfstype=ext4 console=hvc0 console=hvc1 quiet "
    "systemd.show_status=false panic=1 nr_cpus=1 selinux=0 systemd.unit=kata-containers.target "
    "systemd.mask=systemd-networkd.service systemd.mask=systemd-networkd.socket scsi_mod.scan=none "
    "agent.launch_process_timeout=6 cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1"
)
KERNEL = build_kernel(body=bytes(4096))


def test_a_command_line_without_initrd_has_no_suffix() -> None:
    boot = kernel_boot(
        BytesReader(KERNEL),
        initrd=None,
        append=KATA.encode(),
        header=FILE,
        memory=None,
        secure_boot="absent",
        keys=None,
    )
    assert fold(runtime_log(boot.log, MIDDLE), 2).hex() == (
        "b595f9f179d8b699d1420000d36c1fba82e9853545e719caa6ddbb82fa2041a23b4459876af4a253a1c20c5956529b9a"
    )
    assert not boot.unknown
