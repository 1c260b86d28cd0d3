"""Faults to plant in an image in which lint finds nothing: at least one for every rule about images.

They are planted in the small image of the tests, and in a copy of one that was really built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from podvm_builder.formats.filetree import Kind, ReadableTree, TreeEntry, walk
from podvm_builder.formats.memory_tree import MemoryFile, MemoryTree
from podvm_builder.guest.payload import PRESET
from podvm_builder.lint.opening import about_plan, image_subject
from podvm_builder.lint.subject import About, Files, Subject, VerityFacts
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.userspace import open_root
from podvm_builder.model.reader import BinaryReader
from tests.support.lint_subjects import (
    CMDLINE,
    ETC,
    INIT,
    INITRD,
    LIB,
    PROGRAM,
    UNIT,
    VERITY,
    Changes,
    folder,
    good_files,
    link,
    program,
    text,
)
from tests.support.plans import selftest_plan

MODULES = "usr/lib/modules/*"
"""Of whatever version."""
KEY = "-----BEGIN " + "PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n"
SERVICE = "[Service]\nExecStart=/usr/bin/true\n"


def started(name: str, content: str = SERVICE) -> dict[str, MemoryFile]:
    """Plant a unit that is started without being enabled in `/etc`."""
    return {f"{LIB}{name}": text(content), f"{LIB}multi-user.target.wants/{name}": link(f"../{name}")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """An image, taken apart."""

    files: Mapping[str, MemoryFile]
    cmdline: str
    initrd: Mapping[str, MemoryFile]
    verity: VerityFacts
    about: About


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """Changes of an image; None, by a pattern, takes files away."""

    files: Changes
    add: str
    """Words of the command line."""
    take: str
    """Pattern of words of the command line that are taken away."""
    initrd: Changes
    verity: Mapping[str, Any] = field(default_factory=dict)


def small_image() -> Base:
    """Return the image of the tests."""
    plan = selftest_plan("debian-13/snp/libvirt")
    return Base(files=good_files(), cmdline=CMDLINE, initrd=INITRD, verity=VERITY, about=about_plan(plan))


def copied_image(disk: BinaryReader, about: About) -> Base:
    """Return a copy of a whole image, in memory.

    Raises:
        FormatError, Unsupported: it cannot be read.
    """
    subject = image_subject("image", disk, about)
    artifacts = read_boot_artifacts(disk)
    assert artifacts.gpt is not None and subject.initrd is not None and subject.verity is not None
    root = open_root(disk, artifacts.gpt)
    assert root is not None
    early = {path: _copied(entry, b"") for path, entry in walk(subject.initrd)}
    early["init"] = replace(early["init"], data=subject.initrd.read("init"))
    return Base(
        files={path: _copied(entry, _content(root, path, entry)) for path, entry in walk(root)},
        cmdline=subject.cmdline or "",
        initrd=early,
        verity=subject.verity,
        about=about,
    )


def _content(root: ReadableTree, path: str, entry: TreeEntry) -> bytes:
    return root.open(path).read_at(0, entry.size) if entry.kind is Kind.FILE else b""


def _copied(entry: TreeEntry, data: bytes) -> MemoryFile:
    return MemoryFile(
        data=data,
        target=entry.target if entry.kind is Kind.LINK else None,
        folder=entry.kind is Kind.FOLDER,
        mode=entry.mode,
        owner=entry.owner,
        group=entry.group,
        changed=entry.changed,
        capabilities=entry.capabilities,
    )


def plant(
    files: Changes | None = None,
    *,
    add: str = "",
    take: str = "",
    initrd: Changes | None = None,
    verity: Mapping[str, Any] | None = None,
) -> Plant:
    """Return a fault."""
    return Plant(files=files or {}, add=add, take=take, initrd=initrd or {}, verity=verity or {})


def planted(base: Base, fault: Plant, **about: Any) -> Subject:
    """Return an image with a fault in it."""
    words = [word for word in base.cmdline.split() if not fnmatchcase(word, fault.take)]
    cmdline = " ".join([*words, fault.add] if fault.add else words)
    return Subject(
        name="out/image",
        kind="image",
        about=replace(base.about, **about),
        files=Files(MemoryTree(_changed(base.files, fault.files)), cmdline=cmdline),
        cmdline=cmdline,
        initrd=MemoryTree(_changed(base.initrd, fault.initrd)),
        verity=replace(base.verity, **fault.verity),
    )


def _changed(files: Mapping[str, MemoryFile], changes: Changes) -> dict[str, MemoryFile]:
    gone = [path for path, file in changes.items() if file is None]
    kept = {path: file for path, file in files.items() if not any(fnmatchcase(path, pattern) for pattern in gone)}
    return kept | {path: file for path, file in changes.items() if file is not None}


PLANTED: list[tuple[str, str, Plant]] = [
    ("PVB810", "leads to `/usr/share/gone`", plant({"etc/localtime": link("/usr/share/gone")})),
    ("PVB810", "leads to `loop`", plant({"etc/loop": link("loop")})),
    ("PVB811", "leads to no unit", plant({f"{LIB}sockets.target.wants/gone.socket": link("../gone.socket")})),
    (
        "PVB811",
        "requires `gone.service`, which is not there",
        plant({f"{ETC}kata-agent.service.d/x.conf": text("[Unit]\nRequires=gone.service\n")}),
    ),
    ("PVB811", "requires `dbus.socket`, which is masked", plant({f"{ETC}dbus.socket": text("")})),
    (
        "PVB812",
        "`extra.service` is enabled, and no preset enables it",
        plant(
            {
                f"{ETC}extra.service": text(SERVICE),
                f"{ETC}multi-user.target.wants/extra.service": link("../extra.service"),
            }
        ),
    ),
    ("PVB812", "`cron.service` is started: nothing is to run", plant(started("cron.service"))),
    (
        "PVB813",
        "these units wait for one another",
        plant(started("a.service", "[Unit]\nAfter=b.service\n") | started("b.service", "[Unit]\nAfter=a.service\n")),
    ),
    ("PVB814", "which is not there", plant(started("a.service", "[Service]\nExecStart=/usr/bin/gone\n"))),
    ("PVB814", "which is not executable", plant({"usr/bin/mkdir": replace(PROGRAM, mode=0o644)})),
    (
        "PVB815",
        "needs `libgone.so.1`, which is not there",
        plant({"usr/sbin/ip": program("libc.so.6", "libgone.so.1")}),
    ),
    (
        "PVB815",
        "needs `/lib/ld-musl.so.1`, which is not there",
        plant({"usr/sbin/ip": program(interpreter="/lib/ld-musl.so.1")}),
    ),
    (
        "PVB815",
        "needs `/usr/bin/python3`, which is not there",
        plant({"usr/sbin/ip": text("#!/usr/bin/python3 -I\n", 0o755)}),
    ),
    (
        "PVB815",
        "is for aarch64, not for x86_64",
        plant({"usr/sbin/ip": program(machine=183)}),
    ),
    (
        "PVB816",
        "nothing starts `api-server-rest.path`",
        plant({f"{ETC}multi-user.target.wants/api-server-rest.path": None}),
    ),
    ("PVB816", "nothing starts `kata-agent.service`", plant({f"{ETC}multi-user.target.wants/kata-agent.path": None})),
    ("PVB818", "no preset says", plant({PRESET: text(good_files()[PRESET].data.decode().replace("disable *", ""))})),
    ("PVB820", "has mode 0644; at most 0640", plant({"etc/shadow": text("root:!:1::::::\n", 0o644)})),
    ("PVB820", "has mode 0755; at most 0700", plant({"root": folder(0o755)})),
    ("PVB820", "is executable", plant({f"{LIB}network-pre.target": text(UNIT, 0o755)})),
    ("PVB820", "group 4 may write", plant({"etc/x": replace(text("x", 0o664), group=4)})),
    ("PVB821", "is set-user-ID (mode 4755)", plant({"usr/bin/su": replace(PROGRAM, mode=0o4755)})),
    ("PVB821", "is set-group-ID (mode 2755)", plant({"usr/bin/chage": replace(PROGRAM, mode=0o2755)})),
    ("PVB822", "has file capabilities", plant({"usr/bin/ping": replace(PROGRAM, capabilities=True)})),
    ("PVB823", "everybody may write `/etc/x`", plant({"etc/x": text("x", 0o646)})),
    ("PVB823", "everybody may write `/srv`", plant({"srv": folder(0o777)})),
    ("PVB824", "belongs to user 1000", plant({"usr/bin/x": replace(PROGRAM, owner=1000)})),
    ("PVB830", "`serial-getty@ttyS0.service` is started", plant(started("serial-getty@ttyS0.service"))),
    (
        "PVB830",
        "starts a login prompt on each console",
        plant(
            started("getty.target", UNIT)
            | {f"{ETC}getty.target": None, "usr/lib/systemd/system-generators/systemd-getty-generator": PROGRAM},
            take="systemd.getty_auto=*",
        ),
    ),
    ("PVB831", "`/usr/sbin/sshd` is an SSH server", plant({"usr/sbin/sshd": PROGRAM})),
    ("PVB832", "`root` has a password", plant({"etc/shadow": replace(text("root:$y$j9T$x:1::::::\n"), mode=0o640)})),
    ("PVB832", "`root` has no password", plant({"etc/shadow": replace(text("root::1::::::\n"), mode=0o640)})),
    ("PVB832", "`x` has a password in `/etc/passwd`", plant({"etc/passwd": text("x:abc:0:0::/:/bin/sh\n")})),
    ("PVB832", "sets a password", plant({"usr/lib/credstore/passwd.hashed-password.root": text("$y$x")})),
    (
        "PVB833",
        "listens on 0.0.0.0:22",
        plant(started("x.socket", "[Socket]\nListenStream=0.0.0.0:22\n") | started("x.service")),
    ),
    (
        "PVB833",
        "listens on vsock:3:22",
        plant(started("x.socket", "[Socket]\nListenStream=vsock:3:22\n") | started("x.service")),
    ),
    (
        "PVB833",
        "listens on port 111",
        plant({"usr/sbin/rpcbind": PROGRAM} | started("x.service", "[Service]\nExecStart=rpcbind -w\n")),
    ),
    ("PVB834", "holds a private key", plant({"etc/certificates/tls.key": text(KEY, 0o600)})),
    ("PVB835", "starts a root shell", plant(add="systemd.debug_shell=1")),
    ("PVB835", "gives a root shell", plant(add="rd.shell")),
    ("PVB840", "no `sev_guest`", plant({f"{MODULES}/kernel/drivers/virt/coco/sev-guest/sev-guest.ko": None})),
    ("PVB841", "no `virtio_blk`", plant(initrd={f"{MODULES}/kernel/drivers/block/virtio_blk.ko": None})),
    ("PVB842", "no `virtio_net`", plant({f"{MODULES}/kernel/drivers/net/virtio_net.ko": None})),
    ("PVB843", "`console=ttyAMA0,115200` is no console", plant(add="console=ttyAMA0,115200")),
    ("PVB844", "there is no `roothash=`", plant(take="roothash=*")),
    ("PVB845", "turns dm-verity off", plant(add="systemd.verity=no")),
    ("PVB845", "names a device that nothing verifies", plant(add="root=/dev/sda2")),
    ("PVB845", "can set up dm-verity", plant(initrd={"usr/sbin/veritysetup": None})),
    (
        "PVB845",
        "does not set up dm-verity",
        plant(initrd={"init": text("#!/bin/sh\n# veritysetup\nmount /dev/sda2 /sysroot\n")}),
    ),
    ("PVB845", "passes over blocks", plant(initrd={"init": text(INIT.replace("panic-on", "ignore"))})),
    ("PVB846", "the root has the hash", plant(verity={"computed": "f" * 64})),
    ("PVB846", "cannot be verified", plant(verity={"partitions": {}, "computed": None, "reason": "no partition"})),
    ("PVB846", "the root partition's UUID", plant(verity={"partitions": {"root": "0" * 32}})),
    ("PVB847", "systemd imports", plant(add="systemd.import_credentials=yes")),
    ("PVB847", "systemd imports", plant(take="systemd.import_credentials=*")),
    ("PVB848", "extends a PCR", plant(started("systemd-pcrproduct.service"))),
    (
        "PVB848",
        "extends a PCR",
        plant({"usr/bin/tpm2_pcrextend": PROGRAM} | started("x.service", "[Service]\nExecStart=tpm2_pcrextend 9:x\n")),
    ),
    ("PVB850", "holds an ID", plant({"etc/machine-id": text("0123456789abcdef0123456789abcdef\n")})),
    ("PVB850", "a host key of SSH", plant({"etc/ssh/ssh_host_ed25519_key": text("x", 0o600)})),
    ("PVB851", "Python's cache", plant({"usr/lib/python3/__pycache__/x.pyc": text("x")})),
    ("PVB852", "was changed at 1735689601", plant({"etc/x": replace(text("x"), changed=1735689601)})),
    ("PVB860", "`/etc/ocicrypt_config.json` is not there", plant({"etc/ocicrypt_config.json": None})),
    (
        "PVB861",
        "has no `PathExists=/run/peerpod/aa.toml`",
        plant(
            {f"{ETC}attestation-agent.path": text("[Path]\nPathExists=/run/x\n[Install]\nWantedBy=multi-user.target\n")}
        ),
    ),
    ("PVB861", "does not say", plant({"etc/agent-config.toml": text("server_addr = 'vsock://-1:1024'\n")})),
    (
        "PVB861",
        "`kata-agent.service` has `PrivateTmp=`",
        plant({f"{ETC}kata-agent.service.d/x.conf": text("[Service]\nPrivateTmp=yes\n")}),
    ),
    ("PVB860", "/fs/nfs/nfs.ko` is not there", plant({f"{MODULES}/kernel/fs/nfs/nfs.ko": None})),
    ("PVB863", "do not fit", plant({"usr/sbin/ip": MemoryFile(data=PROGRAM.data[:90], mode=0o755)})),
]
