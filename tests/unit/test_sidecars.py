"""What stands beside the UKI: addons, credentials, extensions, systemd-boot, profiles, shim and GRUB."""

from __future__ import annotations

import hashlib

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.formats.cpio import CpioFile, stub_archive
from podvm_builder.formats.pe import authenticode
from podvm_builder.formats.readers import BytesReader
from podvm_builder.measure.artifacts import ForeignBoot, find_boot, read_boot_artifacts
from podvm_builder.measure.machine import measure_tpm
from podvm_builder.measure.sidecars import REMARK
from podvm_builder.measure.tpm import LOADER_REMARK, predict_tpm
from podvm_builder.measure.tpm_boot import TpmBoot
from podvm_builder.model.measurement import Measurement, Status
from tests.support.disk import ESP, build_disk, build_fat
from tests.support.pe import INITRD, Section, build_kernel, build_pe, build_uki

OSREL = b"ID=test\nVERSION_ID=1\n"
CALLING = hashlib.sha256(b"Calling EFI Application from Boot Option").digest()
SEPARATOR = hashlib.sha256(bytes(4)).digest()
UKI_PATH = "EFI/BOOT/BOOTX64.EFI"


def _disk(files: dict[str, bytes]) -> BytesReader:
    return BytesReader(build_disk([(ESP, build_fat(files, bits=12, cluster=8))]))


def _rows(files: dict[str, bytes], boot: TpmBoot | None = None) -> dict[int, Measurement]:
    (prediction,) = predict_tpm(read_boot_artifacts(_disk(files)), [boot or TpmBoot()], banks=("sha256",))
    return {int(row.register[-2:]): row for row in prediction.measurements}


def _fold(*digests: bytes) -> bytes:
    value = bytes(32)
    for digest in digests:
        value = hashlib.sha256(value + digest).digest()
    return value


def _sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _pe(data: bytes) -> bytes:
    return authenticode(BytesReader(data), ("sha256",))["sha256"]


def _addon(**sections: bytes) -> bytes:
    return build_pe([Section(name=b"." + name.encode(), data=data) for name, data in sections.items()])


def _padded(*parts: bytes) -> bytes:
    return b"".join(part + bytes(-len(part) % 4) for part in parts)


OSREL_ARCHIVE = stub_archive(".extra", [CpioFile(name="os-release", data=OSREL)])


def test_addons_in_order_with_their_command_lines() -> None:
    uki = build_uki()
    files = {
        UKI_PATH: uki,
        f"{UKI_PATH}.extra.d/a.addon.efi": _addon(cmdline=b" own\n"),
        "loader/addons/z.addon.efi": _addon(cmdline=b"last"),
        "loader/addons/B.ADDON.EFI": _addon(cmdline=b"first"),
        "loader/addons/other.addon.efi": _addon(cmdline=b"never", uname=b"another kernel"),
        "loader/addons/uki.addon.efi": build_uki(),
        "loader/addons/readme.txt": b"not read",
        "loader/addons/.hidden.addon.efi": b"not read",
    }
    rows = _rows(files)
    # upper case sorts before lower case; what is not applied is loaded all the same
    loaded = ["loader/addons/B.ADDON.EFI", "loader/addons/other.addon.efi", "loader/addons/uki.addon.efi"]
    loaded += ["loader/addons/z.addon.efi", f"{UKI_PATH}.extra.d/a.addon.efi"]
    digests = [_pe(uki), *(_pe(files[path]) for path in loaded), _pe(build_kernel())]
    assert rows[4].value == _fold(CALLING, SEPARATOR, *digests)
    added = "first last own"
    assert rows[12].value == _fold(_sha((added + "\0").encode("utf-16-le")))
    options = f"quiet root=/dev/sda {added}\0".encode("utf-16-le")
    assert rows[9].value == _fold(_sha(options), _sha(_padded(INITRD, OSREL_ARCHIVE)))
    assert rows[13].value == bytes(32)
    assert rows[12].reason == REMARK
    assert rows[11].value == _rows({UKI_PATH: uki})[11].value


def test_credentials_and_extensions() -> None:
    files = {
        UKI_PATH: build_uki(),
        f"{UKI_PATH}.extra.d/b.cred": b"two",
        f"{UKI_PATH}.extra.d/a.cred": b"one",
        "loader/credentials/global.cred": b"g",
        f"{UKI_PATH}.extra.d/x.sysext.raw": b"sysext",
        f"{UKI_PATH}.extra.d/x.confext.raw": b"confext",
        "loader/extensions/plain.raw": b"plain",
        "loader/extensions/y.confext.raw": b"global confext",
    }

    def archive(folder: str, modes: tuple[int, int], **content: bytes) -> bytes:
        packed = [CpioFile(name=name.replace("_", "."), data=data, mode=modes[1]) for name, data in content.items()]
        return stub_archive(f".extra/{folder}", packed, folder_mode=modes[0])

    secret, public = (0o500, 0o400), (0o555, 0o444)
    archives = [
        archive("credentials", secret, a_cred=b"one", b_cred=b"two"),
        archive("global_credentials", secret, global_cred=b"g"),
        archive("sysext", public, x_sysext_raw=b"sysext"),
        archive("global_sysext", public, plain_raw=b"plain"),
        archive("confext", public, x_confext_raw=b"confext"),
        archive("global_confext", public, y_confext_raw=b"global confext"),
    ]
    rows = _rows(files)
    assert rows[12].value == _fold(*(_sha(archives[index]) for index in (0, 1, 4, 5)))
    assert rows[13].value == _fold(_sha(archives[2]), _sha(archives[3]))
    options = _sha("quiet root=/dev/sda\0".encode("utf-16-le"))
    assert rows[9].value == _fold(options, _sha(_padded(INITRD, *archives, OSREL_ARCHIVE)))
    assert archives[0].startswith(b"07070100000001" + b"0000416d")  # the folder above: 0555


def test_microcode_initrds_and_device_trees_of_addons() -> None:
    files = {
        UKI_PATH: build_uki(extra=[Section(name=b".ucode", data=b"uki microcode")]),
        "loader/addons/a.addon.efi": _addon(ucode=b"ucode a", initrd=b"initrd a", dtb=b"tree a"),
        "loader/addons/b.addon.efi": _addon(ucode=b"ucode b", initrd=b"initrd b", dtb=b"tree", dtbauto=b"tree b"),
    }
    rows = _rows(files)
    measured = (b"tree a", b"tree b", b"ucode b", b"ucode a", b"initrd a", b"initrd b")
    assert rows[12].value == _fold(*map(_sha, measured))
    initrd = _padded(b"ucode b", b"ucode a", b"uki microcode", INITRD, OSREL_ARCHIVE, b"initrd a", b"initrd b")
    assert rows[9].value == _fold(_sha("quiet root=/dev/sda\0".encode("utf-16-le")), _sha(initrd))


def test_a_direct_boot_has_no_files_beside_the_uki() -> None:
    files = {UKI_PATH: build_uki(), "loader/credentials/a.cred": b"x"}
    artifacts = read_boot_artifacts(_disk(files))
    disk, direct = predict_tpm(artifacts, [TpmBoot(), TpmBoot(boot="direct")], banks=("sha256",))
    values = [
        {row.register: row.value for row in prediction.measurements if row.register in ("tpm.pcr09", "tpm.pcr12")}
        for prediction in (disk, direct)
    ]
    assert values[0]["tpm.pcr12"] != values[1]["tpm.pcr12"] == bytes(32)
    assert values[0]["tpm.pcr09"] != values[1]["tpm.pcr09"]


@pytest.mark.parametrize(
    ("addon", "code"),
    [
        (b"not a PE image", "PVB240"),
        (build_pe([Section(name=b".cmdline", data=b"x")], subsystem=11), "PVB241"),
        (_addon(cmdline="ä".encode()), "PVB253"),
    ],
)
def test_addons_that_cannot_be_measured(addon: bytes, code: str) -> None:
    with pytest.raises(FormatError, match=r"a\.addon\.efi") as caught:
        _rows({UKI_PATH: build_uki(), "loader/addons/a.addon.efi": addon})
    assert caught.value.code == code


# --- systemd-boot


def _loader(version: bytes = b"257.1") -> bytes:
    magic = b"#### LoaderInfo: systemd-boot " + version + b" ####"
    return build_pe([Section(name=b".text", data=b"loader"), Section(name=b".sdmagic", data=magic)])


LINUX = "EFI/Linux/linux.efi"


def test_systemd_boot_stands_before_the_uki() -> None:
    uki, conf = build_uki(), b"timeout 0\n"
    rows = _rows({UKI_PATH: _loader(), LINUX: uki, "loader/loader.conf": conf})
    assert rows[4].value == _fold(CALLING, SEPARATOR, _pe(_loader()), _pe(uki), _pe(build_kernel()))
    assert rows[4].reason == LOADER_REMARK
    plain = _rows({UKI_PATH: _loader(), LINUX: uki})
    (prediction,) = predict_tpm(
        read_boot_artifacts(_disk({UKI_PATH: _loader(), LINUX: uki, "loader/loader.conf": conf})),
        [TpmBoot()],
        banks=("sha256",),
    )
    kinds = [event.kind for event in prediction.log if event.pcr == 5]
    assert kinds == ["EV_SEPARATOR", "EV_EFI_GPT_EVENT", "EV_EVENT_TAG", "EV_EFI_ACTION", "EV_EFI_ACTION"]
    assert next(e for e in prediction.log if e.pcr == 5 and e.kind == "EV_EVENT_TAG").digests["sha256"] == _sha(conf)
    assert rows[9].value == plain[9].value
    assert rows[11].value == _rows({UKI_PATH: uki})[11].value


def test_extras_belong_to_the_uki_that_is_started() -> None:
    artifacts = read_boot_artifacts(
        _disk(
            {
                UKI_PATH: _loader(),
                LINUX: build_uki(),
                f"{LINUX}.extra.d/a.cred": b"x",
                f"{UKI_PATH}.extra.d/b.cred": b"",
            }
        )
    )
    assert artifacts.extras == (f"{LINUX}.extra.d/a.cred",)


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        ({"EFI/Linux/b.efi": b"", "loader/loader.conf": b"default linux.efi\n"}, True),
        ({"EFI/Linux/b.efi": b"", "loader/loader.conf": b"#default b.efi\ndefault  LINUX*\n"}, True),
        ({"EFI/Linux/b.efi": b"", "loader/loader.conf": b"default *.efi\n"}, False),
        ({"EFI/Linux/b.efi": b""}, False),
        ({"loader/entries/a.conf": b"linux /x"}, False),
        ({"loader/entries/a.conf": b"linux /x", "loader/loader.conf": b"default linux.efi"}, True),
        ({"loader/entries/a.conf": b"linux /x", "loader/loader.conf": b"default *"}, False),
    ],
)
def test_which_uki_systemd_boot_starts(files: dict[str, bytes], chosen: bool) -> None:
    disk = _disk({UKI_PATH: _loader(), LINUX: build_uki(), **files})
    if chosen:
        assert read_boot_artifacts(disk).uki.stub_version == 257
    else:
        with pytest.raises(FormatError) as caught:
            read_boot_artifacts(disk)
        assert caught.value.code == "PVB254"


def test_what_is_not_settled_of_systemd_boot() -> None:
    base = {LINUX: build_uki(), "loader/loader.conf": b"x"}
    old = _rows({UKI_PATH: _loader(b"252.1"), **base})
    assert {pcr for pcr in (4, 5, 9, 12) if old[pcr].value is None} == {5, 9, 12}
    drivers = _rows({UKI_PATH: _loader(), "EFI/systemd/drivers/x.efi": b"", **base})
    assert drivers[4].status is Status.UNPREDICTABLE
    profile = build_uki(extra=[Section(name=b".profile", data=b"ID=a")])
    profiled = _rows({UKI_PATH: _loader(), LINUX: profile})
    assert {pcr for pcr in (4, 5, 9, 11, 12) if profiled[pcr].value is None} == {9, 11, 12}


# --- profiles


def test_the_first_profile_overrides_the_base() -> None:
    base = [(b".osrel", OSREL), (b".cmdline", b"base"), (b".uname", b"6.12.1-test"), (b".initrd", INITRD)]
    profiles = [
        (b".profile", b"ID=zero"),
        (b".cmdline", b"zero"),
        (b".profile", b"ID=one"),
        (b".cmdline", b"one"),
        (b".dtb", b"of profile 1"),
    ]
    magic = (b".sdmagic", b"#### LoaderInfo: systemd-stub 257.13 ####")
    kernel = build_kernel()
    uki = build_pe([Section(name=name, data=data) for name, data in [magic, *base, (b".linux", kernel), *profiles]])
    rows = _rows({UKI_PATH: uki})
    content = {".linux": kernel, ".osrel": OSREL, ".cmdline": b"zero", ".initrd": INITRD}
    content |= {".uname": b"6.12.1-test", ".profile": b"ID=zero"}
    digests = [digest for name, data in content.items() for digest in (_sha(name.encode() + b"\0"), _sha(data))]
    assert rows[11].value == _fold(*digests)
    profile = stub_archive(".extra", [CpioFile(name="profile", data=b"ID=zero")])
    initrd = _padded(INITRD, OSREL_ARCHIVE, profile)
    assert rows[9].value == _fold(_sha("zero\0".encode("utf-16-le")), _sha(initrd))
    assert rows[12].value == bytes(32)


def test_a_section_twice_in_one_profile_is_refused() -> None:
    twice = [Section(name=b".profile", data=b"a"), Section(name=b".dtb", data=b"b"), Section(name=b".dtb", data=b"c")]
    with pytest.raises(FormatError, match="twice"):
        read_boot_artifacts(BytesReader(build_uki(extra=twice)))


# --- shim and GRUB


@pytest.mark.parametrize(("component", "name"), [(b"shim", "shim"), (b"grub", "GRUB")])
def test_shim_and_grub_are_named_and_marked(component: bytes, name: str) -> None:
    sbat = b"sbat,1,SBAT Version,sbat,1,https://example\n" + component + b",4,x,y,1,https://example\n"
    disk = _disk({UKI_PATH: build_pe([Section(name=b".sbat", data=sbat)])})
    found = find_boot(disk)
    assert isinstance(found, ForeignBoot)
    assert found.loader == name
    with pytest.raises(FormatError, match=name) as caught:
        read_boot_artifacts(disk)
    assert caught.value.code == "PVB245"
    measured = measure_tpm(disk, banks=("sha1", "sha256"))
    assert len(measured.measurements) == 32
    assert all(row.value is None and row.reason for row in measured.measurements)
    assert any(name in str(row.reason) for row in measured.measurements)
    assert not measured.identifies_image.value


def test_an_unknown_program_is_no_uki() -> None:
    with pytest.raises(FormatError, match=r"no `\.linux` section"):
        find_boot(_disk({UKI_PATH: build_pe([Section(name=b".text", data=b"x")])}))
