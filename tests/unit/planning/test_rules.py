"""What values mean: one table of good and bad ones per setting."""

from __future__ import annotations

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.catalog.settings import SETTINGS, Edit, Item, Op, parse_counts
from podvm_builder.errors import InputError, Place
from podvm_builder.model.fact import FACTS
from podvm_builder.planning.model import Trust
from podvm_builder.planning.rules import check_edit

GOOD: dict[str, tuple[Item, ...]] = {
    "packages": ("vim", "libstdc++6", "g++-12", "linux-image-amd64=6.12.1-1", "libc6:amd64"),
    "kernel.package": ("linux-image-cloud-amd64",),
    "kernel.cmdline": ("quiet", "console=ttyS0,115200", "a.b=c:d", 'x="y"', "rw=0"),
    "kernel.modules": ("fs/(erofs|squashfs)/", ".*", r"drivers/nvme/host/nvme(-core)?\.", "drivers/net/veth"),
    "image.hostname": ("podvm", "a", "pod-1.example.org", "x" * 63),
    "image.remove": ("/usr/share/doc", "/var/log/*.log", "/a/[b-c]?"),
    "components": ("selftest", "none", "agents"),
    "platform.vcpus": (1, 4, 512),
    "platform.cpus": ("EPYC-v4", "EPYC-Milan"),
    "platform.guest_features": (1, 0x21, (1 << 64) - 1),
    "platform.firmware": ("ovmf", "x.fd", "a/b", ""),
    "trust.snp_microcode": (0, 255),
    "trust.snp_smt": ("enabled", "disabled"),
    "trust.tdx_xfam": ("e702060000000000",),
    "trust.tpm_ak": ("TUlJQg==",),
}
BAD: dict[str, tuple[Item, ...]] = {
    "packages": ("", "a", "-x", "a b", "vim\n", "a,b", "./x.deb", "/x", "${x}"),
    "kernel.package": ("", "a b"),
    "kernel.cmdline": ("", "a b", "a\n", "a\0", "ü", "a\tb", "roothash=0", "roothash", "usrhash=1", '"a b"'),
    "kernel.modules": ("", "a b", "a,b", "(", "[", "*x", "a\n"),
    "image.hostname": ("", "-a", "a-", "a..b", "a_b", "x" * 64, "a b", "ü", ".".join(["abc"] * 20)),
    "image.remove": ("", "/", "a", "/a/../b", "/a b", "/a,b", "/a\n"),
    "components": ("", "/abs", "../x"),
    "platform.vcpus": (0, -1, 513),
    "platform.cpus": ("", "host", "epyc"),
    "platform.guest_features": (0, 2, 1 << 64),
    "platform.firmware": ("ovmf2", "/x.fd", "../x.fd"),
    "trust.snp_microcode": (256, -1),
    "trust.snp_smt": ("on", ""),
    "trust.tdx_xfam": ("E702060000000000", "e7", ""),
    "trust.tpm_ak": ("A", ""),
}


def check(key: str, item: Item, op: Op = Op.APPEND) -> list[InputError]:
    return check_edit(Edit(key=key, op=op, value=item, place=Place(file="f")), catalogue())


@pytest.mark.parametrize(("key", "item"), [(key, item) for key, items in GOOD.items() for item in items])
def test_good_values(key: str, item: Item) -> None:
    assert check(key, item) == []


@pytest.mark.parametrize(("key", "item"), [(key, item) for key, items in BAD.items() for item in items])
def test_bad_values(key: str, item: Item) -> None:
    (error,) = check(key, item)
    assert error.code in ("PVB102", "PVB113", "PVB117")
    assert error.hint or (error.place and error.place.note)


@pytest.mark.parametrize("unit", ["a.service", "systemd-pcrfs@.service", "x@y.path", r"run-a\x2db.mount", "z.timer"])
def test_good_units(unit: str) -> None:
    assert check_edit(Edit(key="units", op=Op.APPEND, value={unit: "mask"}, place=Place(file="f")), catalogue()) == []


@pytest.mark.parametrize("unit", ["a", "a.conf", "../a.service", "a b.service", ".service", "a.service\n", ""])
def test_bad_units(unit: str) -> None:
    edit = Edit(key="units", op=Op.APPEND, value={unit: "mask"}, place=Place(file="f"))
    assert [error.code for error in check_edit(edit, catalogue())] == ["PVB117"]


def test_what_is_removed_need_not_be_sound() -> None:
    assert check("kernel.cmdline", "roothash=0", Op.REMOVE) == []


@pytest.mark.parametrize("key", ["platform.vcpus", "platform.boot"])
def test_there_must_be_something_to_predict_for(key: str) -> None:
    edit = Edit(key=key, op=Op.SET, value=(), place=Place(file="f"))
    assert [error.code for error in check_edit(edit, catalogue())] == ["PVB117"]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [(4, (4,)), ("4", (4,)), ("1-4", (1, 2, 3, 4)), ("1,2, 8-9", (1, 2, 8, 9)), ("3-3", (3,))],
)
def test_counts(text: str | int, numbers: tuple[int, ...]) -> None:
    assert parse_counts(text) == numbers


@pytest.mark.parametrize("text", ["", "-", "1-", "-1", "4-1", "x", "1-5000", "1,,2", "1.5", "²", "9" * 30, "1-2-3"])
def test_no_counts(text: str) -> None:
    with pytest.raises(ValueError, match="range"):
        parse_counts(text)


def test_every_fact_that_a_profile_may_say_is_a_setting_and_a_key() -> None:
    wanted = {name for name, fact in FACTS.items() if fact.profile}
    assert {key.removeprefix("trust.") for key in SETTINGS if key.startswith("trust.")} == wanted
    assert set(Trust.model_fields) == wanted
