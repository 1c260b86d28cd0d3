"""An image in which lint finds nothing, to plant faults in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from podvm_builder.catalog.lint_facts import ContractItem
from podvm_builder.formats.memory_tree import MemoryFile, MemoryTree
from podvm_builder.guest.components import selftest
from podvm_builder.guest.payload import payload
from podvm_builder.lint.known import Known, own_knowledge
from podvm_builder.lint.opening import about_plan
from podvm_builder.lint.run import lint
from podvm_builder.lint.subject import Files, Subject, VerityFacts
from podvm_builder.model.lint import LintFinding, LintReport
from tests.support.elf import elf_program
from tests.support.plans import selftest_plan

ETC = "etc/systemd/system/"
LIB = "usr/lib/systemd/system/"
MODULES = "usr/lib/modules/6.12.0"
LOADER = "/lib64/ld-linux-x86-64.so.2"
HASH = "0123456789abcdef" * 4

Changes = Mapping[str, MemoryFile | None]


def text(content: str, mode: int = 0o644) -> MemoryFile:
    """Make a file of a text."""
    return MemoryFile(data=content.encode(), mode=mode)


def link(target: str) -> MemoryFile:
    """Make a symbolic link."""
    return MemoryFile(target=target)


def program(
    *needed: str, interpreter: str | None = LOADER, machine: int = 62, runpath: str | None = None
) -> MemoryFile:
    """Make a program that is linked with libraries."""
    data = elf_program(needed=needed, interpreter=interpreter, machine=machine, runpath=runpath)
    return MemoryFile(data=data, mode=0o755)


def folder(mode: int) -> MemoryFile:
    """Make a folder."""
    return MemoryFile(folder=True, mode=mode)


PROGRAM = program("libc.so.6")
LIBRARY = replace(program(interpreter=None), mode=0o644)
UNIT = "[Unit]\nDescription=a unit\n"


def good_files() -> dict[str, MemoryFile]:
    """Return the root of an image with the guest's files and as much of a distribution as they need."""
    plan = selftest_plan("debian-13/snp/libvirt")
    programs = (
        *(
            f"usr/bin/{name}"
            for name in ("dash", "mkdir", "true", "umount", "udevadm", "mount", "bash", "cat", "sleep")
        ),
        *(f"usr/sbin/{name}" for name in ("ip", "iptables", "cryptsetup", "mkfs.ext4")),
    )
    files = {
        "bin": link("usr/bin"),
        "lib64": link("usr/lib64"),
        "sbin": link("usr/sbin"),
        **dict.fromkeys(programs, PROGRAM),
        LOADER[1:].replace("lib64", "usr/lib64"): replace(LIBRARY, mode=0o755),
        "usr/lib/x86_64-linux-gnu/libc.so.6": LIBRARY,
        "etc/ld.so.conf": text("include /etc/ld.so.conf.d/*.conf\n"),
        "etc/ld.so.conf.d/x86_64-linux-gnu.conf": text("# Multiarch\n/usr/lib/x86_64-linux-gnu\n"),
        "usr/bin/sh": link("dash"),
        "etc/kata-opa/default-policy.rego": link("/run/peerpod/policy.rego"),
        "etc/machine-id": text(""),
        "etc/mtab": link("../proc/self/mounts"),
        "etc/os-release": link("../usr/lib/os-release"),
        "usr/lib/os-release": text('ID=debian\nIMAGE_ID="podvm-selftest"\n'),
        "etc/passwd": text("root:x:0:0:root:/root:/bin/bash\n"),
        "etc/group": text("root:x:0:\nusers::100:\n"),
        "etc/shadow": replace(text("root:!:20089:0:99999:7:::\n_apt:*:20089::::::\n"), mode=0o640, group=42),
        "tmp": folder(0o1777),
        "root": folder(0o700),
        f"{LIB}default.target": link("graphical.target"),
        f"{LIB}graphical.target": text("[Unit]\nRequires=multi-user.target\nAfter=multi-user.target\n"),
        f"{LIB}multi-user.target": text("[Unit]\nRequires=basic.target\nAfter=basic.target\n"),
        f"{LIB}basic.target": text(
            "[Unit]\nRequires=sysinit.target\nWants=sockets.target paths.target\n"
            "After=sysinit.target sockets.target paths.target\n"
        ),
        **{f"{LIB}{name}.target": text(UNIT) for name in ("sysinit", "sockets", "paths", "network", "network-pre")},
        **{f"{LIB}{name}": text(UNIT) for name in ("systemd-networkd.service", "systemd-resolved.service")},
        f"{LIB}dbus.socket": text("[Socket]\nListenStream=/run/dbus/socket\n"),
        f"{LIB}dbus.service": text("[Unit]\nRequires=dbus.socket\n[Service]\nExecStart=/usr/bin/true\n"),
        f"{LIB}multi-user.target.wants/dbus.service": link("../dbus.service"),
        f"{LIB}sockets.target.wants/dbus.socket": link("../dbus.socket"),
        f"{MODULES}/modules.builtin": text(
            "kernel/drivers/char/tpm/tpm_tis.ko\nkernel/drivers/char/tpm/tpm_crb.ko\nkernel/drivers/nvme/host/nvme.ko\n"
            "kernel/fs/ext4/ext4.ko\nkernel/drivers/block/loop.ko\n"
        ),
        **{
            f"{MODULES}/kernel/{path}.ko": text("module")
            for path in (
                "drivers/virt/coco/sev-guest/sev-guest",
                "drivers/virt/coco/tsm",
                "drivers/net/virtio_net",
                "drivers/md/dm-verity",
                "drivers/md/dm-crypt",
                "drivers/md/dm-integrity",
                "drivers/net/veth",
                "drivers/net/vxlan/vxlan",
                "fs/nfs/nfs",
                "fs/nfs/nfsv4",
                "fs/overlayfs/overlay",
                "fs/xfs/xfs",
            )
        },
        **{path: MemoryFile(data=file.data, mode=file.mode) for path, file in payload(plan, selftest()).items()},
    }
    for unit, state in plan.units.items():
        if state == "enable" and (f"{ETC}{unit}" in files):
            files[f"{ETC}multi-user.target.wants/{unit}"] = link(f"/{ETC}{unit}")
    return files


INIT = "#!/bin/sh\nveritysetup open --panic-on-corruption /dev/sda2 root /dev/sda3 $hash\n"
INITRD: dict[str, MemoryFile] = {
    "init": text(INIT, 0o755),
    "usr/sbin/veritysetup": PROGRAM,
    **{
        f"{MODULES}/kernel/{path}.ko": text("module")
        for path in ("drivers/block/virtio_blk", "drivers/scsi/virtio_scsi", "drivers/scsi/sd_mod", "drivers/ata/ahci")
    },
}
VERITY = VerityFacts(partitions={"root": HASH[:32], "verity": HASH[32:]}, computed=HASH, reason="")
CMDLINE = f"roothash={HASH} console=ttyS0 systemd.getty_auto=no systemd.import_credentials=no"


def image(
    changes: Changes | None = None,
    *,
    cmdline: str = CMDLINE,
    initrd: Changes | None = None,
    verity: VerityFacts = VERITY,
    **about: object,
) -> Subject:
    """Return the image with some files changed, or with None left out."""
    files = {path: file for path, file in {**good_files(), **(changes or {})}.items() if file is not None}
    early = {path: file for path, file in {**INITRD, **(initrd or {})}.items() if file is not None}
    return Subject(
        name="out/image",
        kind="image",
        about=replace(about_plan(selftest_plan("debian-13/snp/libvirt")), **about),  # type: ignore[arg-type]
        files=Files(MemoryTree(files), cmdline=cmdline),
        cmdline=cmdline,
        initrd=MemoryTree(early),
        verity=verity,
    )


def report(subject: Subject, *, contract: tuple[ContractItem, ...] | None = None, **options: object) -> LintReport:
    """Lint a subject."""
    known = own_knowledge()
    if contract is not None:
        known = Known(catalogue=known.catalogue, facts=known.facts, contract=contract)
    return lint(subject, known, **options)  # type: ignore[arg-type]


def findings(subject: Subject) -> tuple[LintFinding, ...]:
    """Lint a subject, and return what counts."""
    return report(subject).findings
