"""What is read from a serial console: lines, milestones and signs of trouble."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.boot.console import Console, Trouble


def fed(text: str) -> Console:
    console = Console()
    console.feed(text.encode(), 1.0)
    console.close()
    return console


def test_a_line_has_the_time_of_its_first_byte() -> None:
    console = Console()
    console.feed(b"one\r\ntw", 1.0)
    console.feed(b"o\nthree", 2.0)
    console.feed(b"", 3.0)
    console.close()
    assert [(line.seconds, line.text) for line in console.lines] == [(1.0, "one"), (1.0, "two"), (2.0, "three")]
    assert console.log() == "[    1.000] one\n[    1.000] two\n[    2.000] three\n"
    assert console.tail(2) == ("two", "three")


def test_terminal_control_is_removed() -> None:
    console = fed("\x1b[2J\x1b[01;01H\x1b[=3h\x1b]0;title\x07\x1b[0;32m  OK  \x1b[0m up\x00\x08\x7f\x9b\n")
    assert console.tail(1) == ("  OK   up",)


def test_an_endless_line_is_cut() -> None:
    console = Console()
    for _ in range(100):
        console.feed(b"x" * 1000, 1.0)
    console.close()
    assert max(len(line.text) for line in console.lines) == 2048


def test_milestones_are_dated_once() -> None:
    console = Console()
    console.feed(b"BdsDxe: starting Boot0001 from PciRoot\n", 1.0)
    console.feed(b"EFI stub: Loaded initrd\n[    0.000000] Linux version 6.12\n", 2.0)
    console.feed(b"EFI stub: again\n[    3.2] systemd[1]: systemd 257.13 running in system mode\n", 3.0)
    assert console.milestones == {"firmware starts the loader": 1.0, "EFI stub": 2.0, "kernel": 2.0, "systemd": 3.0}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[    1.5] Oops: invalid opcode: 0000 [#1] PREEMPT SMP NOPTI", Trouble.OOPS),
        ("[    1.5] invalid opcode: 0000 [#1] PREEMPT SMP NOPTI", Trouble.OOPS),
        ("[    1.5] BUG: unable to handle page fault for address: ffff", Trouble.OOPS),
        ("[    1.5] Oops: general protection fault, probably for non-canonical address", Trouble.OOPS),
        ("[    1.5] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100", Trouble.PANIC),
        ("[    9.1] device-mapper: verity: 253:0: data block 2 is corrupted", Trouble.VERITY),
        ("[FAILED] Failed to start kata-agent.service - Kata agent.", Trouble.UNIT),
        ("You are in emergency mode. After logging in, type", Trouble.EMERGENCY),
        ("systemd[1]: Freezing execution.", Trouble.EMERGENCY),
        ('BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0): Access Denied', Trouble.REFUSED),
        ("OVMF: Secure boot image verification failed.  Consider using the '-shim'", Trouble.REFUSED),
    ],
)
def test_signs_of_trouble(text: str, kind: Trouble) -> None:
    assert [sign.kind for sign in fed(text + "\n").signs] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "[    0.3] Kernel command line: panic=10 oops=panic",
        "[    0.3] audit: initializing netlink subsys (disabled)",
        "[  OK  ] Started kata-agent.service - Kata agent.",
        "podvm-selftest: PASS kata-agent: no failed unit",
        "[    0.1] Spectre V2 : Mitigation: Retpolines; BUG: kernel is fine",
    ],
)
def test_ordinary_lines_are_no_trouble(text: str) -> None:
    assert fed(text + "\n").signs == []


def test_fatal_is_what_ends_the_waiting() -> None:
    assert fed("[FAILED] Failed to start x.service\n").fatal is None
    fatal = fed("[    1.5] Kernel panic - not syncing: VFS: Unable to mount root fs\n").fatal
    assert fatal is not None
    assert fatal.kind is Trouble.PANIC


def test_a_fault_in_the_kernel_is_told_from_a_missing_root() -> None:
    assert fed("[ 1.5] Kernel panic - not syncing: Fatal exception in interrupt\n").kernel_fault
    assert not fed("[ 1.5] Kernel panic - not syncing: VFS: Unable to mount root fs\n").kernel_fault
    assert not fed("[ 1.5] Kernel panic - not syncing: Attempted to kill init!\n").kernel_fault


@given(st.lists(st.binary(max_size=64), max_size=20))
def test_pieces_do_not_matter(pieces: list[bytes]) -> None:
    whole, split = Console(), Console()
    whole.feed(b"".join(pieces), 0.0)
    for piece in pieces:
        split.feed(piece, 0.0)
    whole.close()
    split.close()
    assert whole.log() == split.log()
