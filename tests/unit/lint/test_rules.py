"""Every rule: a fault of its kind, planted in an image in which nothing is found, raises its code and no other."""

from __future__ import annotations

import pytest

from podvm_builder.lint.table import RULES
from tests.support.lint_subjects import (
    ETC,
    LIB,
    MODULES,
    MemoryFile,
    findings,
    good_files,
    image,
    link,
    program,
    report,
    text,
)
from tests.support.planted import PLANTED, SERVICE, Plant, planted, small_image, started


def test_nothing_is_found_in_the_image_that_faults_are_planted_in() -> None:
    found = report(image())
    assert found.findings == ()
    assert found.excused == found.unused == found.unchecked == ()
    assert found.checked == len(RULES) - 2


@pytest.mark.parametrize(("code", "said", "fault"), PLANTED, ids=[f"{code}-{said}" for code, said, _ in PLANTED])
def test_planted_fault(code: str, said: str, fault: Plant) -> None:
    found = findings(planted(small_image(), fault))
    assert {finding.code for finding in found} == {code}
    assert any(said in finding.message for finding in found), found
    assert all(finding.mend and finding.place for finding in found)


PHASES = started("systemd-pcrphase.service") | started("systemd-pcrphase-sysinit.service")


def test_boot_phases_that_are_asked_for() -> None:
    unmasked = {f"{ETC}systemd-pcrphase.service": None, f"{ETC}systemd-pcrphase-sysinit.service": None}
    assert findings(image(PHASES | unmasked, phases=True)) == ()
    assert {one.code for one in findings(image(phases=True))} == {"PVB849"}
    assert {one.code for one in findings(image(PHASES | unmasked))} == {"PVB848"}


def test_modules_are_asked_only_of_a_tree_with_a_kernel() -> None:
    modules = {path: None for path in good_files() if path.startswith(f"{MODULES}/")}
    assert "PVB860" not in {one.code for one in findings(image(modules))}


# profiles name them: none is ever given another meaning
CODES = (
    *("PVB810", "PVB811", "PVB812", "PVB813", "PVB814", "PVB815", "PVB816", "PVB818"),
    *("PVB820", "PVB821", "PVB822", "PVB823", "PVB824", "PVB825", "PVB830", "PVB831"),
    *("PVB832", "PVB833", "PVB834", "PVB835", "PVB840", "PVB841", "PVB842", "PVB843"),
    *("PVB844", "PVB845", "PVB846", "PVB847", "PVB848", "PVB849", "PVB850", "PVB851"),
    *("PVB852", "PVB853", "PVB854", "PVB860", "PVB861", "PVB863"),
)


def test_every_rule_has_a_planted_fault() -> None:
    recipes = {"PVB853", "PVB854"}  # tests/unit/lint/test_recipes.py
    special = {"PVB825", "PVB849"}  # test_special_files, test_boot_phases_that_are_asked_for
    assert {code for code, _, _ in PLANTED} | recipes | special == set(CODES)
    assert CODES == tuple(rule.code for rule in RULES) == tuple(sorted(CODES))
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "etc/resolv.conf": link("../run/systemd/resolve/stub-resolv.conf"),
            "var/run": link("/run"),
            "x": link("var/run/y"),
        },
        {f"{MODULES}/vmlinuz": link("../../../../boot/vmlinuz")},
        {"usr/lib/credstore/passwd.hashed-password.root": text("!")},
        {"etc/passwd": text("root:x:0:0::/root:/bin/sh\nnobody:*:65534:65534::/:/usr/sbin/nologin\n")},
        {"etc/machine-id": text("uninitialized\n")},
        started("x.socket", "[Socket]\nListenStream=127.0.0.1:80\nListenStream=[::1]:80\nListenStream=@x\n")
        | started("x.service"),
        # not started, so nobody is there to answer
        {f"{LIB}x.socket": text("[Socket]\nListenStream=22\n"), f"{LIB}getty@.service": text(SERVICE)},
        # a library beside the program, by its run path
        {
            "usr/sbin/ip": program("libx.so", runpath="$ORIGIN/../lib/own"),
            "usr/lib/own/libx.so": program("libc.so.6", interpreter=None),
        },
        {"usr/sbin/ip": program(interpreter=None)},  # a static program
        {"usr/sbin/ip": text("#! /bin/sh -e\n", 0o755)},
    ],
)
def test_what_is_no_fault(changes: dict[str, MemoryFile | None]) -> None:
    assert findings(image(changes)) == ()


def test_a_driver_by_either_of_its_names() -> None:
    module = f"{MODULES}/kernel/drivers/virt/coco/"
    guest = {f"{module}tdx-guest/tdx-guest.ko": text("module")}
    for name in ("tsm", "guest/tsm_report"):
        changes = guest | {f"{module}tsm.ko": None, f"{module}{name}.ko": text("module")}
        assert findings(image(changes, tee="tdx")) == ()
    (finding,) = findings(image(guest | {f"{module}tsm.ko": None}, tee="tdx"))
    assert "the kernel has no `tsm`" in finding.message


def test_azure_gets_evidence_from_its_vtpm() -> None:
    changes: dict[str, MemoryFile | None] = {
        path: None for path in good_files() if path.endswith(("sev-guest.ko", "tsm.ko"))
    }
    assert {one.code for one in findings(image(changes))} == {"PVB840"}
    wanted = {"PVB841", "PVB842"}  # this image has virtio's drivers only
    assert {one.code for one in findings(image(changes, cloud="azure"))} == wanted
