"""What a trust domain boots: UKIs of several stubs, plain kernels with both headers, firmware known and unknown."""

from __future__ import annotations

import hashlib
import struct
import uuid
from dataclasses import replace

import pytest

from podvm_builder.catalog.ovmf import BUILDS, LAYOUTS
from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.acpi import AcpiFiles
from podvm_builder.formats.bzimage import check_loadable, patched_kernel
from podvm_builder.formats.efi_siglist import X509, encode_signature_list
from podvm_builder.formats.pe import authenticode
from podvm_builder.formats.readers import BytesReader, read_all
from podvm_builder.formats.tdvf import TdxType
from podvm_builder.formats.varstore import GLOBAL, SECURITY
from podvm_builder.measure.artifacts import BootArtifacts, read_boot_artifacts
from podvm_builder.measure.boot_log import DIRECT, DISK
from podvm_builder.measure.rtmr import fold, runtime_log
from podvm_builder.measure.secure_boot import Keys
from podvm_builder.measure.tdx import read_sections
from podvm_builder.measure.tdx_boot import FILE, FILLED, TdxBoot, firmware_boot, kernel_boot, tdx_boots, uki_boot
from podvm_builder.measure.tdx_firmware import TdxFirmware, read_firmware, secure_boot_state
from podvm_builder.measure.tdx_machine import TdxMachine, machine_log
from podvm_builder.measure.tdx_registers import identify_by_rtmrs, measure_rtmrs
from podvm_builder.measure.tpm import predict_tpm
from podvm_builder.measure.tpm_boot import TpmBoot
from podvm_builder.model.measurement import Measurement, Status
from tests.support import firmware as fw
from tests.support.disk import ESP, build_disk, build_fat
from tests.support.pe import Section, build_kernel, build_pe, build_uki
from tests.support.signing import sign, signer
from tests.support.varstore import build_store

LAYOUT = LAYOUTS["edk2-202411"]
SIZE = 1 << 20
MIB = 1 << 20
OWNER = uuid.UUID(int=7)


def _sha384(data: bytes) -> bytes:
    return hashlib.sha384(data).digest()


def _extend(*digests: bytes) -> bytes:
    value = bytes(48)
    for digest in digests:
        value = _sha384(value + digest)
    return value


CALL = _sha384(b"Calling EFI Application from Boot Option")
EXITS = (_sha384(b"Exit Boot Services Invocation"), _sha384(b"Exit Boot Services Returned with Success"))
SEPARATOR = _sha384(bytes(4))


def _uki(uki: bytes, *, boot: str = DIRECT, disk: bool = False, secure_boot: str = "absent") -> TdxBoot:
    data = build_disk([(ESP, build_fat({"EFI/BOOT/BOOTX64.EFI": uki}, bits=12, cluster=4))]) if disk else uki
    artifacts: BootArtifacts = read_boot_artifacts(BytesReader(data))
    (way,) = tdx_boots([TpmBoot(boot=boot, secure_boot=secure_boot)])
    (prediction,) = predict_tpm(artifacts, [way], banks=("sha384",))
    return uki_boot(artifacts.uki, way, prediction)


def _application(data: bytes) -> bytes:
    return authenticode(BytesReader(data), ("sha384",))["sha384"]


@pytest.mark.parametrize(("stub", "inner"), [(b"257.13", True), (b"258", False)])
def test_rtmr_1_of_a_uki_by_stub_version(stub: bytes, inner: bool) -> None:
    kernel = build_kernel()
    uki = build_uki(stub=stub, linux=kernel)
    boot = _uki(uki)
    kernels = [_application(kernel)] if inner else []
    expected = _extend(_application(uki), CALL, SEPARATOR, *kernels, *EXITS)
    assert fold(runtime_log(boot.log, LAYOUT), 1) == expected
    # firmware before 202411 has no separator there
    old = runtime_log(boot.log, LAYOUTS["edk2-before-202411"])
    assert fold(old, 1) == _extend(_application(uki), CALL, *kernels, *EXITS)


def test_rtmr_1_of_a_disk_has_the_partition_table_and_another_order() -> None:
    uki = build_uki(stub=b"258")
    boot = _uki(uki, boot=DISK, disk=True)
    events = [event for event in runtime_log(boot.log, LAYOUT) if event.pcr in (4, 5)]
    assert [event.subject for event in events][:4] == ["call of the boot option", "separator", "partition table", "UKI"]
    assert 1 not in boot.unknown
    assert boot.basis[1]


def test_a_lone_uki_booted_from_disk_has_no_rtmr_1() -> None:
    boot = _uki(build_uki(), boot=DISK)
    assert boot.unknown[1][0] is Status.NOT_COMPUTED
    assert "partition table" in boot.unknown[1][1]


def test_rtmr_2_of_a_uki_is_the_fold_of_its_sections_command_line_and_initrd() -> None:
    boot = _uki(build_uki())
    events = [event for event in runtime_log(boot.log, LAYOUT) if event.pcr >= 8]
    assert {event.pcr for event in events} == {9, 11}
    assert fold(boot.log, 2) == _extend(*(event.digests["sha384"] for event in events))


@pytest.mark.parametrize(
    ("options", "register", "said"),
    [
        ({"stub": b"255.4"}, 2, "since 256"),
        ({"linux": build_kernel(b"6.8.0 (a@b)")}, 2, "since 6.9"),
        ({"stub": b"261"}, 0, "SMBIOS"),
        ({"stub": b"262"}, 2, "boot secret"),
        ({"stub": b"999"}, 1, "not known"),
    ],
)
def test_what_makes_a_register_unpredictable(options: dict[str, bytes], register: int, said: str) -> None:
    finding = _uki(build_uki(**options)).unknown[register]
    assert finding[0] is Status.UNPREDICTABLE
    assert said in finding[1]


def _kernel(
    kernel: bytes,
    *,
    initrd: bytes | None = None,
    append: bytes = b"quiet",
    header: str = FILE,
    memory: int | None = 2048 * MIB,
    secure_boot: str = "absent",
) -> TdxBoot:
    return kernel_boot(
        BytesReader(kernel),
        initrd=None if initrd is None else BytesReader(initrd),
        append=append,
        header=header,
        memory=memory,
        secure_boot=secure_boot,
        keys=None,
    )


BZIMAGE = bytearray(build_kernel(body=bytes(8192)))
BZIMAGE[0x206:0x208] = struct.pack("<H", 0x20F)
BZIMAGE[0x211] = 1
BZIMAGE[0x22C:0x230] = struct.pack("<I", 0x7FFFFFFF)
BZIMAGE[0x236:0x238] = struct.pack("<H", 2)
KERNEL = bytes(BZIMAGE)


def test_a_kernel_with_an_initrd_gets_the_suffix() -> None:
    boot = _kernel(KERNEL, initrd=b"initrd")
    line = _sha384("quiet initrd=initrd\0".encode("utf-16-le"))
    assert fold(boot.log, 2) == _extend(line, _sha384(b"initrd"))
    assert fold(runtime_log(boot.log, LAYOUT), 1) == _extend(_application(KERNEL), CALL, SEPARATOR, *EXITS)
    assert not boot.unknown
    assert [len(boot.basis[register]) for register in (1, 2)] == [1, 2]
    assert not any("UKI" in event.subject for event in boot.log)


def test_without_command_line_and_initrd_nothing_is_measured_there() -> None:
    assert fold(_kernel(KERNEL, append=b"").log, 2) == bytes(48)


def test_the_header_as_qemu_fills_it_in() -> None:
    reader = patched_kernel(BytesReader(KERNEL), initrd_size=5000, below_4g=0x80000000, append=b"quiet")
    patched = read_all(reader)
    assert len(patched) == reader.size == len(KERNEL)
    changed = {at for at, (old, new) in enumerate(zip(KERNEL, patched, strict=True)) if old != new}
    assert changed <= {0x210, 0x211, *range(0x218, 0x220), 0x224, 0x225, *range(0x228, 0x22C)}
    assert patched[0x210:0x212] == b"\xb0\x81"
    address, size = struct.unpack_from("<II", patched, 0x218)
    # below what a PC keeps for ACPI, at a page
    assert (address, size) == ((0x80000000 - 0x28000 - 1 - 5000) & ~0xFFF, 5000)
    assert reader.read_at(0x260, 16) == patched[0x260:0x270]
    filled = _kernel(KERNEL, initrd=bytes(5000), header=FILLED)
    assert filled.log[6].digests["sha384"] == _application(patched)
    # 2 GiB and 16 GiB leave the same memory below 4 GiB, 1 GiB does not
    same, other = (_kernel(KERNEL, initrd=bytes(5000), header=FILLED, memory=size << 30) for size in (16, 1))
    assert fold(same.log, 1) == fold(filled.log, 1) != fold(other.log, 1)


def test_a_kernel_that_stays_below_2_gib() -> None:
    kernel = bytearray(KERNEL)
    kernel[0x236] = 0
    kernel[0x22C:0x230] = struct.pack("<I", 0x37FFFFFF)
    reader = patched_kernel(BytesReader(bytes(kernel)), initrd_size=4096, below_4g=0x80000000, append=b"")
    assert struct.unpack("<I", reader.read_at(0x218, 4)) == ((0x37FFFFFF - 4096) & ~0xFFF,)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"append": b"a\0b"}, "PVB216"),
        ({"kernel": b""}, "PVB213"),
        ({"kernel": b"MZ".ljust(2000, b"\0")}, "PVB213"),
        ({"kernel": b"\x7fELF".ljust(9000, b"\0")}, "PVB240"),
        ({"header": FILLED, "append": b"vga=ask"}, "PVB213"),
        ({"header": FILLED, "initrd": b"x", "memory": None}, "PVB214"),
        ({"header": FILLED, "initrd": bytes(5 << 20), "memory": 4 << 20}, "PVB213"),
        ({"header": FILLED, "kernel": build_pe([Section(name=b".text", data=bytes(8192))])}, "PVB213"),
        ({"header": FILLED, "kernel": build_kernel(body=bytes(8192))}, "PVB213"),
    ],
    ids=["nul", "empty", "short", "elf", "vga", "no-memory", "large-initrd", "no-header", "old-protocol"],
)
def test_kernels_that_cannot_be_are_refused(options: dict[str, object], code: str) -> None:
    arguments = {"kernel": KERNEL, **options}
    with pytest.raises(InputError) as caught:
        _kernel(**arguments)  # type: ignore[arg-type]
    assert caught.value.code == code


class Large:
    size = 4 << 30

    def read_at(self, offset: int, length: int) -> bytes:
        return bytes(length)


def test_a_kernel_over_4_gib_is_refused() -> None:
    with pytest.raises(FormatError) as caught:
        check_loadable(Large())
    assert caught.value.code == "PVB213"


def test_what_a_kernel_leaves_unknown() -> None:
    assert "ASCII" in _kernel(KERNEL, append="é".encode()).unknown[2][1]
    assert "6.9" in _kernel(build_kernel(b"6.1.0", body=bytes(8192))).unknown[2][1]
    assert "version" in _kernel(build_pe([Section(name=b".text", data=bytes(8192))])).unknown[2][1]
    assert "keys" in _kernel(KERNEL, secure_boot="on").unknown[0][1]


def _firmware(store: bytes | None = None) -> bytes:
    image = fw.Firmware(size=SIZE, unique_pages=4).build()
    volume = next(section for section in read_sections(image) if section.kind is TdxType.CFV)
    data = build_store([], size=volume.data_size) if store is None else store
    return data[: volume.data_size] + image[volume.data_size :] if volume.data_offset == 0 else image


def _store(*variables: tuple[object, str, bytes]) -> bytes:
    return build_store(list(variables), size=SIZE // 8 & ~0xFFF)  # type: ignore[arg-type]


def _rows(boot: TdxBoot, firmware: TdxFirmware, *machines: TdxMachine) -> dict[str, Measurement]:
    rows, _ = measure_rtmrs(
        boot, firmware=firmware, layout=firmware.layout, layout_reason=firmware.layout_reason, machines=machines
    )
    return {row.register: row for row in rows}


def test_unknown_firmware_is_named_and_leaves_what_its_layout_decides() -> None:
    data = _firmware()
    firmware = read_firmware(data)
    rows = _rows(_uki(build_uki()), firmware)
    digest = hashlib.sha256(data).hexdigest()
    assert (rows["tdx.rtmr0"].status, rows["tdx.rtmr1"].status) == (Status.PLATFORM, Status.UNPREDICTABLE)
    for register in ("tdx.rtmr0", "tdx.rtmr1"):
        assert digest in str(rows[register].reason)
        assert "--ovmf-layout" in str(rows[register].reason)
    # what the stub and the kernel measure does not depend on it
    assert rows["tdx.rtmr2"].status is Status.PREDICTED
    assert not identify_by_rtmrs(list(rows.values())).value


def test_a_layout_that_was_asked_for_shows_in_the_variant() -> None:
    firmware = read_firmware(_firmware(), layout="edk2-before-202411")
    rows = _rows(_uki(build_uki()), firmware)
    assert rows["tdx.rtmr1"].variant["layout"] == "edk2-before-202411"
    assert identify_by_rtmrs(list(rows.values())).by == ("tdx.rtmr1", "tdx.rtmr2")
    assert "layout" not in rows["tdx.rtmr2"].variant


def test_firmware_that_measures_nothing_in_a_trust_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _firmware()
    silent = next(build for build in BUILDS.values() if build.layout is None)
    monkeypatch.setitem(BUILDS, hashlib.sha256(data).hexdigest(), silent)  # type: ignore[arg-type]
    rows = _rows(_uki(build_uki()), read_firmware(data))
    assert {row.status for row in rows.values()} == {Status.UNPREDICTABLE}
    assert {row.reason for row in rows.values()} == {silent.caution}


ENROLLED = ((GLOBAL, "PK", b""), (SECURITY, "db", b""))


@pytest.mark.parametrize(
    ("variables", "asked", "state"),
    [
        ((), None, None),
        ((), "absent", "absent"),
        ((), "off", "off"),
        ((), "on", InputError),
        (((GLOBAL, "PK", b"key"),), None, "on"),
        (((GLOBAL, "PK", b"key"),), "on", "on"),
        (((GLOBAL, "PK", b"key"),), "off", InputError),
    ],
)
def test_the_state_of_secure_boot_follows_from_the_variables(
    variables: tuple[tuple[object, str, bytes], ...], asked: str | None, state: str | type[InputError] | None
) -> None:
    firmware = read_firmware(_firmware(_store(*variables)), layout="edk2-202411")
    assert firmware.store is not None
    if isinstance(state, type):
        with pytest.raises(state) as caught:
            secure_boot_state(firmware, asked)
        assert caught.value.code == "PVB246"
    else:
        assert secure_boot_state(firmware, asked) == state


def test_a_given_store_takes_the_place_of_the_firmwares() -> None:
    data = _firmware()
    given = _store((GLOBAL, "PK", b""), (GLOBAL, "Boot0000", b"entry"))
    firmware = read_firmware(data, layout="edk2-202411", variables=given)
    assert firmware.image[: len(given)] == given
    assert firmware.name == f"sha256:{hashlib.sha256(firmware.image).hexdigest()}"
    with pytest.raises(InputError, match="bytes"):
        read_firmware(data, variables=given[:-1])
    with pytest.raises(FormatError):
        read_firmware(data, variables=bytes(len(given)))


def test_variables_that_cannot_be_read_or_hold_boot_entries_leave_rtmr_0_open() -> None:
    machine = TdxMachine(memory=2048 * MIB)
    boot = firmware_boot(DIRECT, secure_boot="absent", keys=None)
    unreadable = read_firmware(fw.Firmware(size=SIZE, unique_pages=4).build(), layout="edk2-202411")
    assert unreadable.keys is None
    assert "cannot be read" in str(_rows(boot, unreadable, machine)["tdx.rtmr0"].reason)
    entries = read_firmware(_firmware(_store((GLOBAL, "Boot0003", b"x"))), layout="edk2-202411")
    assert "entries" in str(_rows(boot, entries, machine)["tdx.rtmr0"].reason)


def test_one_row_for_each_machine() -> None:
    firmware = read_firmware(_firmware(), layout="edk2-202411")
    machines = [TdxMachine(memory=size << 30, variant={"vcpus": 2}) for size in (2, 8)]
    rows, logs = measure_rtmrs(
        firmware_boot(DIRECT, secure_boot="absent", keys=None),
        firmware=firmware,
        layout=firmware.layout,
        layout_reason="",
        machines=machines,
    )
    assert [row.variant.get("memory") for row in rows if row.register == "tdx.rtmr0"] == ["2048M", "8192M"]
    assert all(row.status is Status.PLATFORM and "ACPI" in str(row.reason) for row in rows[:2])
    assert not logs


def test_neither_phases_nor_separators_nor_dbr_reach_a_trust_domain() -> None:
    (boot,) = tdx_boots([TpmBoot(phases=("sysinit", "ready"), separators=True, platform={4: "habit"})])
    assert (boot.phases, boot.separators, boot.platform, boot.userspace) == ((), False, {}, None)
    assert replace(boot, phases=()) == boot


KEY = signer("db key")
SIGNED = sign(KERNEL, KEY)
KEYS = Keys(pk=encode_signature_list(X509, OWNER, KEY.der), db=encode_signature_list(X509, OWNER, KEY.der), dbr=b"")


def _secure(kernel: bytes) -> TdxBoot:
    return kernel_boot(
        BytesReader(kernel), initrd=None, append=b"quiet", header=FILE, memory=None, secure_boot="on", keys=KEYS
    )


def test_with_secure_boot_on_the_kernels_signer_is_measured_before_the_boot_entries() -> None:
    boot = _secure(SIGNED)
    assert not boot.unknown
    machine = TdxMachine(memory=2048 * MIB, acpi=AcpiFiles(loader=b"", rsdp=b"", tables=b""))
    firmware = read_firmware(_firmware(), layout="edk2-202411")
    log = machine_log(firmware.image, firmware.sections, machine, LAYOUT, runtime_log(boot.log, LAYOUT))
    subjects = [event.subject for event in log]
    at = subjects.index("entry of db for kernel")
    assert (subjects[at - 1], subjects[at + 1]) == ("ACPI tables", "variable BootOrder")
    assert log[at].data.endswith(OWNER.bytes_le + KEY.der)


def test_a_kernel_that_firmware_refuses_gives_no_register() -> None:
    boot = _secure(KERNEL)
    assert {finding[0] for finding in boot.unknown.values()} == {Status.UNPREDICTABLE}
    assert "not signed" in boot.unknown[1][1]
    assert boot.unknown.keys() == {0, 1, 2}


def test_a_layout_that_was_never_seen_says_so() -> None:
    image = _firmware()
    for name, unseen in (("edk2-202411", False), ("edk2-202505", True)):
        rows, _ = measure_rtmrs(
            _uki(build_uki()), firmware=read_firmware(image, layout=name), layout=LAYOUTS[name], layout_reason=""
        )
        (row,) = (row for row in rows if row.register == "tdx.rtmr1")
        assert row.value is not None
        assert ("not yet seen on hardware" in str(row.reason)) == unseen
