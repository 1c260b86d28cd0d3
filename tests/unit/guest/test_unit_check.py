"""What keeps the units of an image from starting its agents: each fault planted once, in a file system."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.formats.erofs import Erofs
from podvm_builder.formats.filetree import Kind, LinkedTree
from podvm_builder.formats.readers import BytesReader
from podvm_builder.formats.squashfs import Squashfs
from podvm_builder.formats.unit_file import parse_unit
from podvm_builder.guest.components import selftest
from podvm_builder.guest.payload import payload
from podvm_builder.guest.unit_check import UnitFindings, check_units
from tests.support.plans import selftest_plan
from tests.support.trees import Program, build_erofs, build_squashfs

ETC = "etc/systemd/system/"
LIB = "usr/lib/systemd/system/"
SERVICE = b"[Service]\nExecStart=/usr/bin/true\n"
PROGRAM = Program(b"#!/bin/sh\n")

DISTRO: Mapping[str, bytes | str] = {
    "bin": "usr/bin",
    **{f"usr/bin/{name}": PROGRAM for name in ("dash", "mkdir", "true", "umount", "udevadm", "mount")},
    "usr/bin/sh": "dash",
    "usr/sbin/ip": "/usr/bin/true",
    f"{LIB}default.target": "graphical.target",
    f"{LIB}graphical.target": b"[Unit]\nRequires=multi-user.target\nAfter=multi-user.target\n",
    f"{LIB}multi-user.target": b"[Unit]\nRequires=basic.target\nAfter=basic.target\n",
    f"{LIB}basic.target": b"[Unit]\nRequires=sysinit.target\nWants=sockets.target paths.target\n"
    b"After=sysinit.target sockets.target paths.target\n",
    **{f"{LIB}{name}.target": b"[Unit]\n" for name in ("sysinit", "sockets", "paths", "network", "network-pre")},
    f"{LIB}dbus.socket": b"[Socket]\nListenStream=/run/dbus/socket\n",
    f"{LIB}dbus.service": b"[Unit]\nRequires=dbus.socket\n" + SERVICE,
    f"{LIB}multi-user.target.wants/dbus.service": "../dbus.service",
    f"{LIB}sockets.target.wants/dbus.socket": "../dbus.socket",
}
WANTED = (
    "process-user-data.service",
    *(
        f"{name}.path"
        for name in (
            "attestation-agent",
            "confidential-data-hub",
            "kata-agent",
            "agent-protocol-forwarder",
            "api-server-rest",
        )
    ),
)
GOOD: dict[str, bytes | str] = {
    **{
        path: Program(file.data) if file.mode & 0o111 else file.data
        for path, file in payload(selftest_plan("debian-13/snp/libvirt"), selftest()).items()
    },
    **DISTRO,
    **{f"{ETC}multi-user.target.wants/{name}": f"/{ETC}{name}" for name in WANTED},
}


def findings(changes: Mapping[str, bytes | str | None] | None = None, **options: object) -> UnitFindings:
    """Check the good tree with some files changed, or with None left out."""
    files = {path: data for path, data in {**GOOD, **(changes or {})}.items() if data is not None}
    return check_units(Squashfs(BytesReader(build_squashfs(files))), **options)  # type: ignore[arg-type]


def found(changes: Mapping[str, bytes | str | None] | None = None, **options: object) -> tuple[str, ...]:
    """Return the faults of the tree, which must have nothing else amiss."""
    seen = findings(changes, **options)
    assert seen.remarks == ()
    return seen.faults


def test_the_payload_as_it_is() -> None:
    assert found() == ()
    erofs = {path: data for path, data in GOOD.items() if not path.startswith("usr/local/bin/process")}
    assert check_units(Erofs(BytesReader(build_erofs(erofs)))).faults == (
        "`process-user-data.service` runs `/usr/local/bin/process-user-data`, which is not there",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"usr/local/bin/kata-agent": None},
            "`kata-agent.service` runs `/usr/local/bin/kata-agent`, which is not there",
        ),
        (
            {"usr/local/bin/kata-agent": b"#!/bin/sh\n"},
            "`kata-agent.service` runs `/usr/local/bin/kata-agent`, which is not executable",
        ),
        ({"usr/bin/sh": "absent"}, "`confidential-data-hub.service` runs `/bin/sh`, which is not there"),
        (
            {f"{ETC}attestation-agent.service.d/x.conf": b"[Service]\nExecStartPre=absent -x\n"},
            "`attestation-agent.service` runs `absent`, which is not there",
        ),
        ({f"{ETC}kata-agent.service": None}, "`kata-agent.path` starts `kata-agent.service`, which is not there"),
        ({f"{ETC}kata-agent.service": b""}, "`kata-agent.path` starts `kata-agent.service`, which is masked"),
        ({f"{ETC}kata-agent.service": "/dev/null"}, "`kata-agent.service` is masked"),
        ({f"{ETC}multi-user.target.wants/kata-agent.path": None}, "nothing starts `kata-agent.service`"),
        (
            {f"{ETC}kata-agent.path": b"[Path]\nPathExists=/x\nUnit=other.service\n"},
            "`kata-agent.path` starts `other.service`, which is not there",
        ),
        (
            {
                f"{ETC}process-user-data.service.d/x.conf": b"[Unit]\nRequires=dbus.service\n",
                f"{ETC}dbus.service.d/x.conf": b"[Service]\nExecStartPost=!/usr/bin\n",
            },
            "`dbus.service` runs `/usr/bin`, which is not executable",
        ),
        ({f"{ETC}netns@.service": None}, "`kata-agent.service` requires `netns@podns.service`, which is not there"),
        (
            {f"{ETC}netns@podns.service": "/dev/null"},
            "`kata-agent.service` requires `netns@podns.service`, which is masked",
        ),
        (
            {
                f"{ETC}process-user-data.service.d/x.conf": b"[Unit]\nRequires=dbus.service\n",
                f"{LIB}dbus.socket": b"",
            },
            "`dbus.service` requires `dbus.socket`, which is masked",
        ),
        (
            {f"{ETC}process-user-data.service.d/x.conf": b"[Unit]\nAfter=kata-agent.service\n"},
            "these units wait for one another: `process-user-data.service` after `kata-agent.service` after "
            "`scratch-storage.service` after `process-user-data.service`",
        ),
        (
            {f"{ETC}process-user-data.service.d/x.conf": b"[Unit]\nBefore=sysinit.target\n"},
            "these units wait for one another: `process-user-data.service` after `sysinit.target` after "
            "`process-user-data.service`",
        ),
        ({f"{LIB}default.target": None}, "there is no `default.target` to start"),
    ],
)
def test_planted_faults(changes: Mapping[str, bytes | str | None], said: str) -> None:
    assert said in found(changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {f"{LIB}sockets.target.wants/absent.socket": "../absent.socket"},
            f"`/{LIB}sockets.target.wants/absent.socket` leads to no unit",
        ),
        (
            {f"{ETC}sockets.target.requires/dbus.socket": "/gone/dbus.socket"},
            f"`/{ETC}sockets.target.requires/dbus.socket` leads to no unit",
        ),
        (
            {f"{ETC}dbus.service.d/x.conf": b"[Service]\nExecStartPost=!/usr/bin\n"},
            "`dbus.service` runs `/usr/bin`, which is not executable",
        ),
        (
            {
                f"{ETC}dbus.path": b"[Path]\nUnit=gone.service\n",
                f"{LIB}paths.target.wants/dbus.path": f"/{ETC}dbus.path",
            },
            "`dbus.path` starts `gone.service`, which is not there",
        ),
    ],
)
def test_what_is_amiss_with_other_units_is_only_remarked(changes: Mapping[str, bytes | str | None], said: str) -> None:
    assert findings(changes) == UnitFindings(remarks=(said,))


def test_a_fault_and_a_remark_of_one_cause() -> None:
    assert findings({f"{ETC}kata-agent.path": None}) == UnitFindings(
        faults=("nothing starts `kata-agent.service`",),
        remarks=(f"`/{ETC}multi-user.target.wants/kata-agent.path` leads to no unit",),
    )


@pytest.mark.parametrize(
    "changes",
    [
        # allowed to fail
        {f"{ETC}kata-agent.service.d/x.conf": b"[Service]\nExecStartPre=-/absent\nExecStartPost=+-/absent\n"},
        # taken back by a later drop-in
        {
            f"{ETC}kata-agent.service.d/x.conf": b"[Service]\nExecStartPre=/absent\n",
            f"{ETC}kata-agent.service.d/y.conf": b"[Service]\nExecStartPre=\n",
        },
        # of equal names the first place counts
        {
            f"{LIB}kata-agent.service.d/x.conf": b"[Service]\nExecStartPre=/absent\n",
            f"{ETC}kata-agent.service.d/x.conf": b"",
        },
        # a masked unit that is only wanted, and a link that masks
        {f"{ETC}dbus.service": "/dev/null", f"{ETC}sysinit.target.wants/absent.service": "/dev/null"},
        # an API server is no part of what must start
        {f"{ETC}multi-user.target.wants/api-server-rest.path": None},
        # a unit by its alias, whose links count too
        {
            f"{ETC}multi-user.target.wants/process-user-data.service": None,
            f"{ETC}alias.target": f"/{LIB}multi-user.target",
            f"{ETC}alias.target.wants/process-user-data.service": f"/{ETC}process-user-data.service",
        },
        # a unit that is started without default dependencies may come early
        {
            f"{ETC}process-user-data.service.d/x.conf": b"[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n",
            f"{LIB}network.target": b"[Unit]\nDefaultDependencies=no\n",
        },
        # units that nothing starts may lack their programs
        {f"{LIB}idle.service": b"[Service]\nExecStart=/absent\n"},
        # and so may distribution units that start under a condition only
        {f"{LIB}dbus.service.d/x.conf": b"[Unit]\nConditionPathExists=/x\n[Service]\nExecStartPre=/absent\n"},
    ],
)
def test_what_is_no_fault(changes: Mapping[str, bytes | str | None]) -> None:
    assert found(changes) == ()


def test_the_command_line_masks_and_chooses() -> None:
    masks = frozenset({"kata-agent.service"})
    assert "`kata-agent.path` starts `kata-agent.service`, which is masked" in found(masks=masks)
    assert "nothing starts `kata-agent.service`" in found(cmdline="quiet systemd.unit=basic.target")
    assert found(cmdline="systemd.unit=rescue.target") == ("there is no `rescue.target` to start",)
    assert found(cmdline="systemd.unit=multi-user.target") == ()


def test_aliases_that_lead_back_to_themselves_end() -> None:
    said = findings(
        {
            f"{ETC}one.service": "../../../usr/lib/systemd/system/two.service",
            f"{ETC}two.service": "../../../usr/lib/systemd/system/one.service",
            f"{LIB}one.service": SERVICE,
            f"{LIB}two.service": SERVICE,
            f"{ETC}multi-user.target.wants/one.service": f"/{LIB}one.service",
        }
    )
    assert said == UnitFindings(remarks=(f"`/{ETC}multi-user.target.wants/one.service` leads to no unit",))


def test_links_are_followed_to_their_end() -> None:
    files: dict[str, bytes | str] = {
        "usr/bin/true": b"x",
        "bin": "/usr/bin",
        "a/up": "../bin/./true",
        "a/root": "/..",
        "loop": "loop",
        **{f"l{n}": f"l{n + 1}" for n in range(50)},
    }
    tree = LinkedTree(Squashfs(BytesReader(build_squashfs(files))))
    for path in ("bin/true", "/usr/bin/true", "a/up", "a/root/bin/true"):
        at = tree.resolve(path)
        assert at is not None
        assert (at[0], at[1].kind) == ("usr/bin/true", Kind.FILE)
    for path in ("loop", "l0", "", "/", "a/root", "absent", "usr/bin/true/x"):
        assert tree.resolve(path) is None


def test_texts_have_a_limit() -> None:
    tree = LinkedTree(Squashfs(BytesReader(build_squashfs({"text": bytes(1 << 20)}))))
    for _ in range(32):
        assert len(tree.text("text")) == 1 << 20
    with pytest.raises(FormatError, match="bytes of texts") as caught:
        tree.text("text")
    assert caught.value.code == "PVB256"


def test_syntax_of_unit_files() -> None:
    file = parse_unit(
        "Ignored=yes\n[Unit]\n# comment\n; comment\nAfter = a.service \\\n  # within\n  b.service\nAfter=\nnothing\n"
        "[Service]\nExecStart=/one \\\n    two\nExecStart=\nExecStart=/three\nType=a\nType=b\nFlag=Yes\nEnd=x\\",
        "[Unit]\nAfter=c.service\n",
    )
    assert file.lists("Unit", "After", "Before") == ("a.service", "b.service", "c.service")
    assert file.commands("Service", "ExecStart") == ("/three",)
    assert (file.last("Service", "Type"), file.last("Service", "None"), file.last("Service", "End")) == ("b", None, "x")
    assert file.flag("Service", "Flag", default=False)
    assert not file.flag("Service", "Type", default=True)
    assert file.flag("Service", "None", default=True)
    assert file.lists("", "Ignored") == ()
