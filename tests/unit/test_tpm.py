"""PCRs of synthetic images: what each version of the stub measures, and every case in which no value may be given."""

from __future__ import annotations

import hashlib

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.formats.pe import authenticode
from podvm_builder.formats.readers import BytesReader
from podvm_builder.measure.artifacts import BootArtifacts, read_boot_artifacts
from podvm_builder.measure.tpm import BANKS, identify_by_tpm, predict_tpm
from podvm_builder.measure.tpm_boot import TpmBoot
from podvm_builder.model.measurement import Measurement, Status
from tests.support.disk import ESP, build_disk, build_fat
from tests.support.pe import INITRD, Section, build_kernel, build_uki

OSREL = b"ID=test\nVERSION_ID=1\n"


def _uki(**options: object) -> BootArtifacts:
    return read_boot_artifacts(BytesReader(build_uki(**options)))  # type: ignore[arg-type]


def _disk(files: dict[str, bytes]) -> BytesReader:
    return BytesReader(build_disk([(ESP, build_fat(files, bits=12, cluster=4))]))


def _rows(artifacts: BootArtifacts, boot: TpmBoot | None = None, bank: str = "sha256") -> dict[int, Measurement]:
    (prediction,) = predict_tpm(artifacts, [boot or TpmBoot()], banks=(bank,))
    return {int(row.register[-2:]): row for row in prediction.measurements}


def _fold(*digests: bytes, bank: str = "sha256") -> bytes:
    value = bytes(hashlib.new(bank).digest_size)
    for digest in digests:
        value = hashlib.new(bank, value + digest).digest()
    return value


def _sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


CALLING = _sha(b"Calling EFI Application from Boot Option")
SEPARATOR = _sha(bytes(4))


@pytest.mark.parametrize("bank", BANKS)
def test_every_register_has_a_value_or_a_reason(bank: str) -> None:
    disk = _disk({"EFI/BOOT/BOOTX64.EFI": build_uki()})
    rows = _rows(read_boot_artifacts(disk), bank=bank)
    assert sorted(rows) == list(range(16))
    size = hashlib.new(bank).digest_size
    for pcr, row in rows.items():
        assert row.alg == bank
        if row.value is None:
            assert row.reason
        else:
            assert len(row.value) == size
            assert row.origin == ("log", "disk")
            assert row.variant["boot"] == "disk"
        predicted = {4, 5, 7, 9, 11, 12, 13, 14} | (set() if bank == "sha256" else {8})
        assert (row.status is Status.PREDICTED) == (pcr in predicted)
    assert rows[8].status is (Status.PER_VM if bank == "sha256" else Status.PREDICTED)
    assert rows[15].status is Status.PER_VM
    assert {rows[pcr].status for pcr in (0, 1, 2, 3, 6)} == {Status.PLATFORM}


@pytest.mark.parametrize(
    ("stub", "secure_boot", "inner"),
    [
        (b"252.39-1~deb12u1", "absent", True),
        (b"252.39-1~deb12u1", "on", False),
        (b"257.13-1~deb13u1", "off", True),
        (b"258~rc1", "off", False),
        (b"260", "absent", False),
    ],
)
def test_pcr_4_has_the_inner_kernel_by_stub_and_secure_boot(stub: bytes, secure_boot: str, inner: bool) -> None:
    uki, kernel = build_uki(stub=stub), build_kernel()
    applications = [uki, kernel] if inner else [uki]
    digests = [authenticode(BytesReader(data), ("sha256",))["sha256"] for data in applications]
    rows = _rows(_uki(stub=stub), TpmBoot(secure_boot=secure_boot))
    assert rows[4].value == _fold(CALLING, SEPARATOR, *digests)
    assert rows[4].variant == {"boot": "disk", "secure_boot": secure_boot}


@pytest.mark.parametrize(
    ("stub", "sections"),
    [
        (b"252", [".linux", ".osrel", ".cmdline", ".initrd", ".pcrpkey"]),
        (b"255", [".linux", ".osrel", ".cmdline", ".initrd", ".uname", ".pcrpkey"]),
        (b"256", [".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".uname", ".pcrpkey"]),
        (b"257", [".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".uname", ".pcrpkey"]),
    ],
)
def test_pcr_11_has_the_sections_that_the_stub_knows(stub: bytes, sections: list[str]) -> None:
    content = {
        ".linux": build_kernel(),
        ".osrel": OSREL,
        ".cmdline": b"quiet root=/dev/sda",
        ".initrd": INITRD,
        ".uname": b"6.12.1-test",
        ".ucode": b"microcode",
        ".pcrpkey": b"a public key",
    }
    extra = [
        Section(name=b".pcrsig", data=b"never measured"),
        Section(name=b".pcrpkey", data=b"a public key"),
        Section(name=b".ucode", data=b"microcode"),
    ]
    rows = _rows(_uki(stub=stub, extra=extra))
    digests = [digest for name in sections for digest in (_sha(name.encode() + b"\0"), _sha(content[name]))]
    assert rows[11].value == _fold(*digests)


def _entry(inode: int, mode: int, name: bytes, data: bytes) -> bytes:
    head = b"070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x" % (
        *(inode, mode, 0, 0, 1, 0, len(data)),
        *(0, 0, 0, 0, len(name) + 1, 0),
    )
    entry = head + name + b"\0"
    entry += bytes(-len(entry) % 4) + data
    return entry + bytes(-len(entry) % 4)


def _archive(name: bytes, data: bytes) -> bytes:
    trailer = b"070701" + b"0" * 32 + b"00000001" + b"0" * 48 + b"0000000B" + b"0" * 8 + b"TRAILER!!!" + bytes(4)
    assert len(trailer) == 124
    return _entry(1, 0o40555, b".extra", b"") + _entry(2, 0o100444, b".extra/" + name, data) + trailer


@pytest.mark.parametrize(
    ("stub", "extra", "initrd"),
    [
        (b"252", [], b"initrd byte"),
        (b"256", [], b"initrd byte"),
        (b"256", [Section(name=b".ucode", data=b"mc")], b"mc\0\0initrd byte\0"),
        (b"256", [Section(name=b".pcrsig", data=b"s")], b"initrd byte\0" + _archive(b"tpm2-pcr-signature.json", b"s")),
        (b"257", [], b"initrd byte\0" + _archive(b"os-release", OSREL)),
        (
            b"257",
            [Section(name=b".pcrpkey", data=b"key"), Section(name=b".ucode", data=b"micro")],
            b"micro\0\0\0initrd byte\0" + _archive(b"tpm2-pcr-public-key.pem", b"key") + _archive(b"os-release", OSREL),
        ),
    ],
)
def test_pcr_9_has_the_initrd_as_the_stub_hands_it_over(stub: bytes, extra: list[Section], initrd: bytes) -> None:
    rows = _rows(_uki(stub=stub, initrd=b"initrd byte", extra=extra))
    options = "quiet root=/dev/sda\0".encode("utf-16-le")
    assert rows[9].value == _fold(_sha(options), _sha(initrd))


def test_pcr_9_without_any_initrd_has_the_command_line_alone() -> None:
    rows = _rows(_uki(stub=b"255", initrd=b""))
    assert rows[9].value == _fold(_sha("quiet root=/dev/sda\0".encode("utf-16-le")))


def test_blanks_around_the_command_line_are_cut_and_control_characters_become_blanks() -> None:
    rows = _rows(_uki(stub=b"257", cmdline=b" \tquiet\x01root=x \n\0behind the NUL"))
    plain = _rows(_uki(stub=b"257", cmdline=b"quiet root=x"))
    assert rows[9].value == plain[9].value


@pytest.mark.parametrize(
    ("options", "pcrs", "reason"),
    [
        ({"stub": b"251"}, {4, 9, 11, 12, 13}, "251"),
        ({"stub": b"263"}, {4, 5, 7, 9, 11, 12, 13, 14}, "263"),
        ({"stub": b"no number"}, {4, 5, 7, 9, 11, 12, 13, 14}, "does not name"),
        ({"stub": b"259"}, {9}, "nvpcr-separator"),
        ({"stub": b"262.1-1"}, {4, 5, 7, 9, 12, 13, 14}, "systemd"),
        ({"cmdline": b""}, {9, 12}, "no command line"),
        ({"cmdline": b"  "}, {9, 12}, "no command line"),
        ({"cmdline": "ä".encode()}, {9}, "not ASCII"),
        ({"cmdline": b"quiet\n", "stub": b"253"}, {9}, "253"),
        ({"linux": build_kernel(b"5.10.1")}, {9}, "before 5.19"),
        ({"extra": [Section(name=b".hwids", data=b"h"), Section(name=b".dtbauto", data=b"x")]}, {11}, ".dtbauto"),
        (
            {"extra": [Section(name=b".hwids", data=b"h"), Section(name=b".efifw", data=b"x")], "stub": b"258"},
            {11},
            ".efifw",
        ),
        ({"extra": [Section(name=b".profile", data=b"x")], "stub": b"256"}, {9, 11, 12}, ".profile"),
    ],
)
def test_no_value_where_it_cannot_be_justified(options: dict[str, object], pcrs: set[int], reason: str) -> None:
    disk = _disk({"EFI/BOOT/BOOTX64.EFI": build_uki(**options)})  # type: ignore[arg-type]
    rows = _rows(read_boot_artifacts(disk))
    unknown = {pcr for pcr in (4, 5, 7, 9, 11, 12, 13, 14) if rows[pcr].value is None}
    assert unknown == pcrs
    assert all(rows[pcr].status is Status.UNPREDICTABLE for pcr in pcrs)
    assert any(reason in str(rows[pcr].reason) for pcr in pcrs)


@pytest.mark.parametrize(("stub", "measured"), [(b"256.12", ()), (b"257.13", (b".hwids",)), (b"258.1", (b".hwids",))])
def test_hardware_identifiers_are_measured_by_stubs_that_know_them(stub: bytes, measured: tuple[bytes, ...]) -> None:
    plain = _rows(_uki(stub=stub))[11].value
    assert plain is not None
    events = [digest for name in measured for digest in (_sha(name + b"\0"), _sha(b"digests of SMBIOS fields"))]
    expected = plain
    for digest in events:
        expected = _sha(expected + digest)
    found = _rows(_uki(stub=stub, extra=[Section(name=b".hwids", data=b"digests of SMBIOS fields")]))
    assert found[11].value == expected


@pytest.mark.parametrize("stub", [b"256.12", b"257.13", b"258.1"])
def test_what_is_for_certain_machines_is_not_measured_where_no_machine_is_known(stub: bytes) -> None:
    """No `.hwids`, and x86 firmware has no devicetree: the stub takes none of these sections."""
    extra = [Section(name=name, data=data) for name in (b".dtbauto", b".efifw") for data in (b"one", b"two")]
    assert _rows(_uki(stub=stub, extra=extra))[11].value == _rows(_uki(stub=stub))[11].value


def test_separators_are_no_doubt_where_their_units_are_masked() -> None:
    assert _rows(_uki(stub=b"260"), TpmBoot(separators=False))[9].value is not None
    rows = _rows(_uki(stub=b"262"), TpmBoot(separators=False))
    assert rows[4].value is not None
    assert "boot secret" in str(rows[9].reason)


def test_a_lone_uki_has_no_partition_table() -> None:
    rows = _rows(_uki())
    assert rows[5].status is Status.NOT_COMPUTED
    assert _rows(_uki(), TpmBoot(boot="direct"))[5].value is not None


@pytest.mark.parametrize(
    "path",
    [
        "loader/addons/a.addon.efi",
        "loader/credentials/x.cred",
        "EFI/BOOT/BOOTX64.EFI.extra.d/ext.sysext.raw",
    ],
)
@pytest.mark.parametrize("stub", [b"256", b"no number"])
def test_what_an_unsettled_stub_loads_from_the_esp_makes_registers_unknown(path: str, stub: bytes) -> None:
    artifacts = read_boot_artifacts(_disk({"EFI/BOOT/BOOTX64.EFI": build_uki(stub=stub), path: b"x"}))
    assert artifacts.extras == (path,)
    rows = _rows(artifacts)
    assert {4, 9, 12, 13} <= {pcr for pcr, row in rows.items() if row.status is Status.UNPREDICTABLE}
    assert path in str(rows[12].reason)
    assert _rows(artifacts, TpmBoot(boot="direct"))[4].value == _rows(_uki(stub=stub), TpmBoot(boot="direct"))[4].value


def test_secure_boot_on_leaves_pcr_7_to_its_keys() -> None:
    for boot in ("disk", "direct"):
        rows = _rows(_uki(), TpmBoot(secure_boot="on", boot=boot))
        assert (rows[4].status, rows[7].status) == (Status.PREDICTED, Status.NOT_COMPUTED)


def test_phases_give_the_last_two_values() -> None:
    words = ("enter-initrd", "leave-initrd", "sysinit", "ready")
    artifacts = _uki()
    (prediction,) = predict_tpm(artifacts, [TpmBoot(phases=words)], banks=("sha256",))
    rows = [row for row in prediction.measurements if row.register == "tpm.pcr11"]
    assert [row.variant["phase"] for row in rows] == ["sysinit", "ready"]
    before = _rows(artifacts)[11].value
    assert before is not None
    for word in words[:3]:
        before = _sha(before + _sha(word.encode()))
    assert rows[0].value == before
    assert rows[1].value == _sha(before + _sha(b"ready"))


def test_the_result_does_not_depend_on_threads_or_on_other_boots() -> None:
    artifacts = _uki()
    boots = [TpmBoot(), TpmBoot(boot="direct"), TpmBoot(secure_boot="off")]
    together = predict_tpm(artifacts, boots, workers=3)
    assert together == tuple(predict_tpm(artifacts, [boot])[0] for boot in boots)


def test_platform_registers_of_a_machine() -> None:
    rows = _rows(_uki(), TpmBoot(platform={7: "keys of the cloud"}))
    assert (rows[7].status, rows[7].reason) == (Status.PLATFORM, "keys of the cloud")


def test_identification() -> None:
    good = predict_tpm(_uki(), [TpmBoot()])[0].measurements
    assert identify_by_tpm(good).by == ("tpm.pcr04", "tpm.pcr11", "tpm.pcr12")
    bad = predict_tpm(_uki(cmdline=b""), [TpmBoot()])[0].measurements
    assert not identify_by_tpm(bad).value
    assert "tpm.pcr12" in identify_by_tpm(bad).reason


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (b"KDMV" + bytes(600), "PVB245", "VMDK"),
        (b"", "PVB242", "no GUID partition table"),
        (build_disk([(ESP, build_fat({"x": b""}, bits=12))]), "PVB245", "no `EFI/BOOT/BOOTX64.EFI`"),
        (build_disk([(ESP, build_fat({"EFI/BOOT/BOOTX64.EFI": b"x"}, bits=12))]), "PVB240", "EFI/BOOT/BOOTX64.EFI"),
        (build_disk([(ESP, bytes(4096))]), "PVB243", "FAT"),
    ],
)
def test_inputs_that_hold_no_uki(data: bytes, code: str, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        read_boot_artifacts(BytesReader(data))
    assert caught.value.code == code


def test_aarch64_starts_another_file() -> None:
    disk = _disk({"EFI/BOOT/BOOTAA64.EFI": build_uki()})
    assert read_boot_artifacts(disk, arch="aarch64").uki.stub_version == 257


def test_a_kernel_that_firmware_could_not_load_is_refused() -> None:
    with pytest.raises(FormatError, match="MZ"):
        predict_tpm(_uki(linux=b"not a PE image" * 50), [TpmBoot()])
