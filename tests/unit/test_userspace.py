"""Looking into images: initrds, squashfs, EROFS and kernels, and what follows for the registers."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import struct
import tracemalloc
import zlib
from collections.abc import Mapping

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.formats import filetree, initrd, squashfs_metadata
from podvm_builder.formats.compression import Unsupported, decompress, name_of, pieces
from podvm_builder.formats.erofs import Erofs
from podvm_builder.formats.fat import FatFilesystem
from podvm_builder.formats.filetree import Kind, find
from podvm_builder.formats.initrd import Initrd
from podvm_builder.formats.readers import BytesReader
from podvm_builder.formats.squashfs import Squashfs
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.machine import measure_tpm
from podvm_builder.measure.userspace import Userspace, has_ima, inspect
from podvm_builder.model.measurement import Measurement, Status
from tests.support.disk import ESP, ROOT, build_disk, build_fat
from tests.support.pe import build_uki
from tests.support.trees import Program, build_cpio, build_erofs, build_squashfs

LIB = "usr/lib/systemd/system/"
TSS = {
    "usr/lib/systemd/systemd-pcrextend": b"x",
    "usr/lib/x86_64-linux-gnu/libtss2-esys.so.0": b"x",
    "usr/lib/x86_64-linux-gnu/libtss2-tcti-device.so.0": b"x",
}
HELPER = "/usr/lib/systemd/systemd-pcrextend --graceful"


def _unit(start: str, stop: str, *, initrd: bool = False) -> bytes:
    """Return a unit as systemd 257 ships it."""
    lines = [
        *("[Unit]", "Description=TPM PCR Barrier", "DefaultDependencies=no", "After=tpm2.target"),
        *("Conflicts=shutdown.target", "ConditionSecurity=measured-uki"),
        f"ConditionPathExists={'' if initrd else '!'}/etc/initrd-release",
        *("[Service]", "Type=oneshot", "RemainAfterExit=yes", f"ExecStart={HELPER} {start}"),
        *([f"ExecStop={HELPER} {stop}"] if stop else []),
    ]
    return "\n".join(lines).encode()


PHASES_INITRD: dict[str, bytes | str] = {
    f"{LIB}systemd-pcrphase-initrd.service": _unit("enter-initrd", "leave-initrd", initrd=True),
    f"{LIB}initrd.target.wants/systemd-pcrphase-initrd.service": "../x",
}
PHASES_ROOT: dict[str, bytes | str] = {
    f"{LIB}systemd-pcrphase-sysinit.service": _unit("sysinit", "final"),
    f"{LIB}systemd-pcrphase.service": _unit("ready", "shutdown"),
} | {
    f"{LIB}sysinit.target.wants/{unit}": "../x"
    for unit in ("systemd-pcrphase-sysinit.service", "systemd-pcrphase.service")
}
SEPARATOR: dict[str, bytes | str] = {
    f"{LIB}systemd-pcrosseparator.service": _unit("--os-separator", "", initrd=True),
    f"{LIB}sysinit.target.wants/systemd-pcrosseparator.service": "../x",
}
MASKER = {"usr/lib/systemd/system-generators/systemd-debug-generator": b"x"}
MACHINE = {f"{LIB}systemd-pcrmachine.service": b"x"}
Files = Mapping[str, bytes | str]


def _disk(root: bytes, **options: object) -> BytesReader:
    esp = build_fat({"EFI/BOOT/BOOTX64.EFI": build_uki(**options)}, bits=12, cluster=4)  # type: ignore[arg-type]
    return BytesReader(build_disk([(ESP, esp), (ROOT, root)]))


def _inspect(early: Files, root: Files | bytes, **options: object) -> Userspace:
    data = root if isinstance(root, bytes) else build_squashfs(root)
    disk = _disk(data, initrd=build_cpio(early), **options)
    artifacts = read_boot_artifacts(disk)
    return inspect(artifacts.uki, disk, artifacts.gpt)


# --- trees


FILES: Files = {
    "etc/one": b"content",
    "etc/empty": b"",
    "etc/systemd/system/masked.service": "/dev/null",
    "usr/lib/" + "n" * 200: b"x" * 5000,
    **{f"many/{number:04d}": b"" for number in range(700)},
}


@pytest.mark.parametrize("build", [build_squashfs, build_erofs])
def test_trees_of_file_systems(build: object) -> None:
    assert callable(build)
    kind = Squashfs if build is build_squashfs else Erofs
    tree = kind(BytesReader(build(FILES)))
    assert {entry.name for entry in tree.list("")} == {"etc", "usr", "many"}
    assert [entry.name for entry in tree.list("many")] == [f"{number:04d}" for number in range(700)]
    one, empty = find(tree, "etc/one"), find(tree, "etc/empty")
    assert one is not None
    assert empty is not None
    assert (one.kind, one.size, empty.size) == (Kind.FILE, 7, 0)
    link = find(tree, "etc/systemd/system/masked.service")
    assert link is not None
    assert (link.kind, link.target) == (Kind.LINK, "/dev/null")
    assert find(tree, "usr/lib/" + "n" * 200) is not None
    assert find(tree, "usr/absent") is None
    assert tree.list("etc/one") == ()
    assert tree.list("absent/deep") == ()
    with pytest.raises(FormatError, match="no file `etc`"):
        tree.read("etc")


@pytest.mark.parametrize("build", [build_squashfs, build_erofs])
def test_files_of_file_systems(build: object) -> None:
    assert callable(build)
    noise = b"".join(struct.pack("<I", number * 2654435761 & 0xFFFFFFFF) for number in range(10_000))
    files: Files = {
        "small": b"a",
        "other": b"b" * 1000,
        "empty": b"",
        "noise": noise,
        "blocks": b"c" * 200_000,
        "hole": bytes(131072) + b"d" * 131072 + b"end",
        "bin/program": Program(b"#!/bin/sh\n"),
        "large": bytes((1 << 20) + 1),
        "link": "small",
    }
    tree = (Squashfs if build is build_squashfs else Erofs)(BytesReader(build(files)))
    for path, content in files.items():
        if path in ("large", "link"):
            with pytest.raises(FormatError, match="no file" if path == "link" else "1048577 bytes"):
                tree.read(path)
        else:
            assert tree.read(path) == content
    modes = [entry.mode for path in ("bin/program", "small") if (entry := find(tree, path)) is not None]
    assert modes == [0o755, 0o644]


def test_an_initrd_of_several_archives() -> None:
    first, second, third = (build_cpio({name: b"x"}) for name in ("early", "late", "bin/sh"))
    data = first + bytes(512) + gzip.compress(second, mtime=0) + bytes(3) + lzma.compress(third)
    tree = Initrd(BytesReader(data))
    assert {entry.name for entry in tree.list("")} == {"early", "late", "bin"}
    assert [entry.name for entry in tree.list("/bin/")] == ["sh"]


@pytest.mark.parametrize(
    "data",
    [
        b"neither",
        build_cpio({"a": b"x"})[:150],
        build_cpio({"a": b"x"})[:60],
        b"070701" + b"zz" * 60,
        b"070701" + b"0" * 86 + b"FFFFFFFF" + b"0" * 40,
        gzip.compress(b"no archive", mtime=0),
        gzip.compress(build_cpio({"a": b"x"}), mtime=0)[:-9],
    ],
)
def test_damaged_initrds(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        Initrd(BytesReader(data))
    assert caught.value.code in ("PVB255", "PVB257")


@pytest.mark.parametrize("build", [build_squashfs, build_erofs])
def test_damaged_file_systems_end_in_an_error(build: object) -> None:
    """Flip every byte of the structures once: the tree is read, or it is refused, and nothing else happens."""
    assert callable(build)
    good: bytes = build({"etc/one": b"x", "etc/link": "/dev/null"})
    kind, start = (Squashfs, 0) if build is build_squashfs else (Erofs, 1024)
    for at in range(start, len(good), 3):
        data = bytearray(good)
        data[at] ^= 0xFF
        try:
            tree = kind(BytesReader(bytes(data)))
            for path in ("", "etc", "etc/one"):
                tree.list(path)
            tree.read("etc/one")
        except (FormatError, Unsupported):
            pass
    for size in (0, 64, start + 100):
        with pytest.raises(FormatError) as caught:
            kind(BytesReader(good[:size])).list("etc")
        assert caught.value.code == "PVB256"


def test_compressions() -> None:
    data = bytes(range(256)) * 300
    streams = {"gzip": gzip.compress(data), "xz": lzma.compress(data), "bzip2": bz2.compress(data)}
    streams["lzma"] = lzma.compress(data, lzma.FORMAT_ALONE)
    for name, stream in streams.items():
        assert name_of(stream) == name
        assert decompress(name, stream + b"behind", limit=1 << 20) == (data, len(stream))
        with pytest.raises(FormatError):
            decompress(name, stream, limit=1000)
        with pytest.raises(FormatError):
            decompress(name, stream[: len(stream) // 2], limit=1 << 20)
    assert decompress("zlib", zlib.compress(data), limit=1 << 20)[0] == data
    with pytest.raises(Unsupported, match="lz4"):
        decompress("lz4", b"\x04\x22\x4d\x18", limit=1)
    with pytest.raises(FormatError):
        decompress("zstd", b"\x28\xb5\x2f\xfd" + b"\xff" * 40, limit=1 << 20)


# --- what follows


def test_an_image_without_systemd_units_touches_nothing() -> None:
    found = _inspect({"init": b"x"}, {"usr/bin/sh": b"x"})
    assert (found.phases, dict(found.doubts), found.untouched) == ((), {}, {15})


def test_phases_of_initrd_and_root() -> None:
    assert _inspect({**PHASES_INITRD, **TSS}, {**PHASES_ROOT, **TSS}).phases == (
        "enter-initrd",
        "leave-initrd",
        "sysinit",
        "ready",
    )
    assert _inspect({}, {**PHASES_ROOT, **TSS}).phases == ("sysinit", "ready")


def test_phase_units_that_may_not_reach_the_tpm() -> None:
    for root in (PHASES_ROOT, {f"{LIB}systemd-pcrphase.service": b"x", **TSS}):
        found = _inspect({}, root)
        assert found.phases is None
        assert set(found.doubts) == {11}


@pytest.mark.parametrize("mask", ["/dev/null", b""])
def test_masked_units_do_not_run(mask: bytes | str) -> None:
    masks = {
        f"etc/systemd/system/{unit}": mask
        for unit in ("systemd-pcrphase-sysinit.service", "systemd-pcrphase.service", "systemd-pcrmachine.service")
    }
    found = _inspect({}, {**PHASES_ROOT, **MACHINE, **TSS, **masks})
    assert (found.phases, found.untouched) == ((), {15})


def test_units_masked_on_the_command_line() -> None:
    cmdline = b"quiet rd.systemd.mask=systemd-pcrphase-initrd.service systemd.mask=systemd-pcrmachine.service"
    trees = {**PHASES_INITRD, **TSS, **MASKER}, {**PHASES_ROOT, **MACHINE, **TSS, **MASKER}
    found = _inspect(*trees, cmdline=cmdline)
    assert (found.phases, found.untouched) == (("sysinit", "ready"), {15})
    # each key counts in its own place only
    found = _inspect(*trees, cmdline=cmdline.replace(b"rd.", b"xx.").replace(b" systemd.", b" rd.systemd."))
    assert (found.phases, found.untouched) == (("enter-initrd", "leave-initrd", "sysinit", "ready"), frozenset())
    found = _inspect({**PHASES_INITRD, **TSS}, {**PHASES_ROOT, **MACHINE, **TSS}, cmdline=cmdline)
    assert found.phases == ("enter-initrd", "leave-initrd", "sysinit", "ready")  # nothing there that would mask
    found = _inspect({**PHASES_INITRD, **TSS}, {}, cmdline=b"quiet xsystemd.mask=systemd-pcrphase-initrd.service")
    assert found.phases == ("enter-initrd", "leave-initrd")


@pytest.mark.parametrize(
    "word",
    [
        b"systemd.mask=systemd-pcrphase",
        b'systemd.mask="systemd-pcrphase.service"',
        b"'systemd.mask=systemd-pcrphase' x",
        b'"a b" systemd.m"ask=systemd-pcrphase',
    ],
)
def test_a_mask_without_type_or_in_quotes_counts(word: bytes) -> None:
    found = _inspect({}, {**PHASES_ROOT, **TSS, **MASKER}, cmdline=b"quiet " + word)
    assert found.phases == ("sysinit",)


@pytest.mark.parametrize(
    "word", [b"systemd.mask=", b"systemd.mask=systemd-pcrphase.socket", b'"x systemd.mask=systemd-pcrphase"']
)
def test_what_masks_no_phase_unit(word: bytes) -> None:
    assert _inspect({}, {**PHASES_ROOT, **TSS, **MASKER}, cmdline=b"quiet " + word).phases == ("sysinit", "ready")


@pytest.mark.parametrize(
    "path",
    [
        "etc/systemd/system/systemd-pcrphase.service.d/x.conf",
        f"{LIB}systemd-pcrphase-.service.d/x.conf",
        f"{LIB}systemd-.service.d/x.conf",
        f"{LIB}service.d/x.conf",
    ],
)
def test_drop_ins_leave_pcr_11_without_a_value(path: str) -> None:
    for tree in ({path: b"[Service]\nPrivateDevices=yes"}, {path.rpartition("/")[0]: "elsewhere"}):
        found = _inspect({}, {**PHASES_ROOT, **TSS, **tree})
        assert found.phases is None
        said = "PrivateDevices" if path in tree else path.rpartition("/")[0]
        assert said in found.doubts[11]
    masks = {
        f"etc/systemd/system/{unit}": b"" for unit in ("systemd-pcrphase-sysinit.service", "systemd-pcrphase.service")
    }
    assert _inspect({}, {**PHASES_ROOT, **TSS, **masks, path: b"x"}).phases == ()


@pytest.mark.parametrize(
    ("text", "phases"),
    [
        ("[Unit]\nAfter=network.target\n[Service]\nTimeoutStartSec=5", ("sysinit", "ready")),
        (f"[Service]\nExecStart=\nExecStart={HELPER} attested", ("sysinit", "attested")),
        (f"[Service]\nExecStart={HELPER} second", None),
        ("[Service]\nExecStart=\nExecStart=/usr/bin/true", None),
        ("[Service]\nExecStart=\nExecStart=-" + HELPER + " ready", None),
        ("[Unit]\nConditionPathExists=/etc/wanted", None),
        ("[Unit]\nConflicts=sysinit.target", None),
        ("[Service]\nUser=nobody", None),
    ],
)
def test_drop_ins_are_read(text: str, phases: tuple[str, ...] | None) -> None:
    path = "etc/systemd/system/systemd-pcrphase.service.d/x.conf"
    for build in (build_squashfs, build_erofs):
        found = _inspect({}, build({**PHASES_ROOT, **TSS, path: text.encode()}))
        assert found.phases == phases
        assert (11 in found.doubts) == (phases is None)


def test_drop_ins_of_the_initrd_are_read() -> None:
    path = f"{LIB}systemd-pcrphase-initrd.service.d/x.conf"
    text = f"[Service]\nExecStop=\nExecStop={HELPER} left".encode()
    assert _inspect({**PHASES_INITRD, **TSS, path: text}, {}).phases == ("enter-initrd", "left")
    found = _inspect({**PHASES_INITRD, **TSS, path: b"#" * 70_000}, {})
    assert "is not kept" in found.doubts[11]
    linked = {path: "../elsewhere.conf", f"{LIB}elsewhere.conf": text}
    assert _inspect({**PHASES_INITRD, **TSS, **linked}, {}).phases == ("enter-initrd", "left")
    gone = _inspect({**PHASES_INITRD, **TSS, path: "../nowhere.conf"}, {})
    assert "leads to none" in gone.doubts[11]


@pytest.mark.parametrize(
    "name", ["systemd.extra-unit.x.service.cred", "systemd.unit-dropin.systemd-pcrphase.service.cred"]
)
def test_credentials_that_bring_units(name: str) -> None:
    initrd, root = build_cpio({}), build_squashfs({**PHASES_ROOT, **TSS})
    for folder in ("loader/credentials", "EFI/BOOT/BOOTX64.EFI.extra.d"):
        files = {"EFI/BOOT/BOOTX64.EFI": build_uki(initrd=initrd), f"{folder}/{name}": b"sealed"}
        disk = BytesReader(build_disk([(ESP, build_fat(files, bits=12, cluster=4)), (ROOT, root)]))
        rows = {row.register: row for row in measure_tpm(disk, banks=("sha256",)).measurements}
        assert rows["tpm.pcr11"].value is None
        assert name in str(rows["tpm.pcr11"].reason)
        assert rows["tpm.pcr15"].value is None
        files["EFI/BOOT/BOOTX64.EFI"] = build_uki(initrd=initrd, cmdline=b"quiet systemd.import_credentials=no")
        disk = BytesReader(build_disk([(ESP, build_fat(files, bits=12, cluster=4)), (ROOT, root)]))
        rows = {row.register: row for row in measure_tpm(disk, banks=("sha256",)).measurements}
        assert rows["tpm.pcr11"].value is not None
    line = b"systemd.set_credential=" + name.removesuffix(".cred").encode() + b":text systemd.import_credentials=no"
    assert name.removesuffix(".cred") in _inspect({}, {}, cmdline=line).doubts[11]
    assert _inspect({}, {}, cmdline=b"systemd.set_credential=passwd.x:y").doubts == {}


@pytest.mark.parametrize("path", [f"{LIB}systemd-pcrphase.service.d/README", f"{LIB}systemd-udevd.service.d/x.conf"])
def test_what_changes_no_phase_unit(path: str) -> None:
    assert _inspect({}, {**PHASES_ROOT, **TSS, path: b"x"}).phases == ("sysinit", "ready")


@pytest.mark.parametrize("root", [MACHINE, {"etc/crypttab": b"x"}, {f"{LIB}systemd-pcrfs@.service": b"x"}])
def test_what_extends_pcr_15(root: Files) -> None:
    assert 15 not in _inspect({}, root).untouched
    assert 15 not in _inspect(root, {}).untouched


SEPARATED = {*range(8), 9, 12, 13, 14}


def test_separators() -> None:
    found = _inspect({f"{LIB}systemd-pcrosseparator.service": b"[Service]"}, {})
    assert set(found.doubts) == SEPARATED
    assert "no unit asks for it" in found.doubts[12]
    found = _inspect({}, {f"{LIB}systemd-pcrosseparator.service": b"x", f"{LIB}systemd-pcrnvdone.service": b"x"})
    assert set(found.doubts) == {9}
    assert not found.separator


def test_the_separator_of_an_initrd_that_is_certain_to_run_it() -> None:
    found = _inspect({**SEPARATOR, **TSS}, {})
    assert (found.separator, dict(found.doubts)) == (True, {})
    changed = {f"{LIB}systemd-pcrosseparator.service.d/x.conf": b"[Service]\nPrivateDevices=yes"}
    assert set(_inspect({**SEPARATOR, **TSS, **changed}, {}).doubts) == SEPARATED
    other = {f"{LIB}systemd-pcrosseparator.service": _unit("--something", "", initrd=True)}
    assert set(_inspect({**SEPARATOR, **TSS, **other}, {}).doubts) == SEPARATED


def test_registers_with_the_separator() -> None:
    disk = _disk(build_squashfs({}), initrd=build_cpio({**SEPARATOR, **TSS}), stub=b"262.1")
    rows = {row.register: row for row in measure_tpm(disk, banks=("sha256",)).measurements}
    # PCR 12 was never extended before: one extend on zeros
    word = hashlib.sha256(b"os-separator").digest()
    assert word.hex() == "ff5b9d73dad709633ae76adf444012b57e913a12ed7403c3931145862f35f841"
    assert rows["tpm.pcr12"].value == hashlib.sha256(bytes(32) + word).digest()
    assert "not yet seen" in str(rows["tpm.pcr12"].reason)
    plain = _disk(build_squashfs({}), initrd=build_cpio(TSS), stub=b"262.1")
    for register, before in ((row.register, row) for row in measure_tpm(plain, banks=("sha256",)).measurements):
        if register in ("tpm.pcr05", "tpm.pcr07", "tpm.pcr13", "tpm.pcr14"):
            assert before.value is not None
            assert rows[register].value == hashlib.sha256(before.value + word).digest()


def test_what_cannot_be_read_leaves_no_value() -> None:
    found = _inspect({}, b"an ext4 file system" * 400)
    assert set(found.doubts) == {9, 11}
    assert "neither squashfs nor EROFS" in found.doubts[11]
    disk = _disk(build_squashfs({}), initrd=b"no archive")
    artifacts = read_boot_artifacts(disk)
    found = inspect(artifacts.uki, disk, artifacts.gpt)
    assert set(found.doubts) == {*SEPARATED, 11}
    assert 15 not in found.untouched


def test_a_disk_without_a_root_has_all_in_its_initrd() -> None:
    esp = build_fat(
        {"EFI/BOOT/BOOTX64.EFI": build_uki(initrd=build_cpio({**PHASES_INITRD, **TSS}))}, bits=12, cluster=4
    )
    disk = BytesReader(build_disk([(ESP, esp)]))
    artifacts = read_boot_artifacts(disk)
    found = inspect(artifacts.uki, disk, artifacts.gpt)
    assert (found.phases, dict(found.doubts)) == (("enter-initrd", "leave-initrd"), {})
    two = BytesReader(build_disk([(ESP, esp), (ROOT, bytes(4096)), (ROOT, bytes(4096))]))
    artifacts = read_boot_artifacts(two)
    assert "2 root partitions" in inspect(artifacts.uki, two, artifacts.gpt).doubts[11]


def test_what_a_build_recorded_stands_in_for_a_root_that_cannot_be_read() -> None:
    disk = _disk(b"an ext4 file system" * 400)
    artifacts = read_boot_artifacts(disk)
    found = inspect(artifacts.uki, disk, artifacts.gpt, recorded=("sysinit",))
    assert (found.phases, dict(found.doubts)) == (("sysinit",), {})


def _kernel(content: bytes, *, version: int = 0x20F) -> bytes:
    payload = gzip.compress(content, mtime=0)
    head = bytearray(1024)
    head[0x1F1] = 1
    struct.pack_into("<4sH", head, 0x202, b"HdrS", version)
    struct.pack_into("<II", head, 0x248, 64, len(payload))
    return bytes(head) + bytes(64) + payload


def test_ima_is_seen_in_the_kernel() -> None:
    assert has_ima(BytesReader(_kernel(b"text boot_aggregate\0 text"))) is True
    assert has_ima(BytesReader(_kernel(b"text"))) is False
    for unreadable in (b"", bytes(4096), _kernel(b"x", version=0x207), _kernel(b"x")[:-9], _kernel(b"x")[:1100]):
        assert has_ima(BytesReader(unreadable)) is None


# --- registers


def _rows(disk: BytesReader, **options: object) -> dict[int, Measurement]:
    found = measure_tpm(disk, banks=("sha256",), **options)  # type: ignore[arg-type]
    return {int(row.register[-2:]): row for row in found.measurements}


def test_registers_follow_from_what_the_image_holds() -> None:
    quiet = _rows(_disk(build_squashfs({})))
    assert (quiet[15].status, quiet[15].value) == (Status.PREDICTED, bytes(32))
    busy = _rows(_disk(build_squashfs({**PHASES_ROOT, **TSS, **MACHINE})))
    assert busy[11].variant["phase"] == "ready"
    assert busy[11].value != quiet[11].value
    assert busy[15].status is Status.PER_VM
    # a newer stub's initrd is looked into instead of being suspected
    newer = _rows(_disk(build_squashfs({}), stub=b"260"))
    assert newer[9].status is Status.PREDICTED
    boot_secret = _rows(_disk(build_squashfs({}), stub=b"262"))
    assert {pcr for pcr in (4, 5, 7, 9, 11, 12, 13, 14) if boot_secret[pcr].value is None} == {9}


def test_given_phases_take_the_place_of_what_cannot_be_read() -> None:
    disk = _disk(b"an ext4 file system" * 400)
    assert _rows(disk)[11].status is Status.UNPREDICTABLE
    assert _rows(disk, phases=("sysinit", "ready"))[11].value is not None


def test_a_lone_uki_is_judged_by_its_initrd() -> None:
    rows = _rows(BytesReader(build_uki(stub=b"260")))
    assert "systemd-pcrnvdone" in str(rows[9].reason)
    assert rows[15].status is Status.PER_VM


def test_an_initrd_of_very_many_streams_is_refused() -> None:
    stream = gzip.compress(b"")
    with pytest.raises(FormatError, match="compressed streams"):
        Initrd(BytesReader(stream * 100))


@pytest.mark.parametrize("build", [build_squashfs, build_erofs])
def test_what_is_read_of_a_tree_is_bounded(build: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(build)
    kind = Squashfs if build is build_squashfs else Erofs
    data = BytesReader(build({f"a/{number}": "x" * 1000 for number in range(100)}))
    monkeypatch.setattr(filetree, "_MAX_LOOKS", 250)
    tree = kind(data)
    tree.list("a")
    tree.list("a")
    with pytest.raises(FormatError, match="more names") as caught:
        tree.list("a")
    assert caught.value.code == "PVB256"
    monkeypatch.setattr(filetree, "_MAX_TARGETS", 100_000)
    assert len(kind(data).list("a")) == 100
    monkeypatch.setattr(filetree, "_MAX_TARGETS", 99_999)
    with pytest.raises(FormatError, match="symbolic link"):
        kind(data).list("a")
    with pytest.raises(FormatError, match="symbolic link of 4097 bytes"):
        kind(BytesReader(build({"a": "x" * 4097}))).list("")


def test_names_for_one_link_share_its_target() -> None:
    image = bytearray(build_erofs({"first": "t" * 4000, "second": "u" * 4000}))
    block = image.index(b"...firstsecond") - 4 * 12
    image[block + 36 : block + 44] = image[block + 24 : block + 32]
    first, second = Erofs(BytesReader(bytes(image))).list("")
    assert first.target == "t" * 4000
    assert first.target is second.target


def test_metadata_that_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squashfs_metadata, "_MAX_BLOCKS", 4)
    data = build_squashfs({f"a/{number:04d}": b"x" for number in range(1500)})
    with pytest.raises(FormatError, match="more metadata"):
        Squashfs(BytesReader(data)).list("a")


def test_a_bomb_is_given_up_early() -> None:
    """A short stream that unpacks to gigabytes costs the time of 64 MiB, and the image is judged without it."""
    bomb = lzma.compress(bytes(200 << 20), preset=1)
    assert len(bomb) < 1 << 20
    with pytest.raises(FormatError, match="than are credible, 67108864 and more"):
        Initrd(BytesReader(bomb))
    assert has_ima(BytesReader(_kernel(bytes(80 << 20)))) is None


def test_what_the_streams_of_an_initrd_hold_counts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initrd, "MAX_INITRD", 1 << 20)
    stream = lzma.compress(bytes(700 << 10))
    assert Initrd(BytesReader(stream)).list("") == ()
    with pytest.raises(FormatError, match="come out"):
        Initrd(BytesReader(stream * 2))


@pytest.mark.parametrize("packed", [False, True])
def test_files_of_an_initrd_are_not_held(packed: bool) -> None:
    content = build_cpio({"large": bytes(48 << 20), "last": b"x", "link": "/dev/null"})
    data = gzip.compress(content, 1, mtime=0) if packed else content
    reader = BytesReader(data)
    del content
    tracemalloc.start()
    try:
        tree = Initrd(reader)
        # whole, the archive has 48 MiB; BytesReader gives a whole value without a copy
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    large, last, link = tree.list("")
    assert (large.size, last.size, link.target) == (48 << 20, 1, "/dev/null")


@pytest.mark.parametrize("form", ["gzip", "xz", "bzip2", "zlib", "zstd"])
def test_pieces_are_small_whatever_the_stream(form: str) -> None:
    data = bytes(24 << 20)
    if form == "zstd":
        data = pytest.importorskip("zstandard").compress(data)
    else:
        pack = {"gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress, "zlib": zlib.compress}
        data = pack[form](data)  # type: ignore[operator]
    found = [(len(piece), used) for piece, used in pieces(form, data + b"behind")]
    assert (sum(size for size, _ in found), found[-1][1]) == (24 << 20, len(data))
    assert max(size for size, _ in found) <= 8 << 20


def test_a_crafted_allocation_table_is_not_read() -> None:
    boot = bytearray(512)
    # 512-byte sectors, one a cluster, one table of 2^24 sectors, 2^31 sectors in all
    struct.pack_into("<HBHBHHBH", boot, 11, 512, 1, 32, 1, 0, 0, 0xF8, 0)
    struct.pack_into("<II", boot, 32, 1 << 31, 1 << 24)
    boot[510:] = b"\x55\xaa"

    class Sparse:
        size = 1 << 40

        def read_at(self, offset: int, length: int) -> bytes:
            assert length <= 4096
            return bytes(boot[:length]) if offset == 0 else bytes(length)

    with pytest.raises(FormatError, match="clusters"):
        FatFilesystem(Sparse())
