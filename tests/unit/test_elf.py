"""ELF headers: what a program is for and what it needs."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import FormatError
from podvm_builder.formats.elf import MACHINES, Elf, parse_elf
from tests.support.elf import elf_program

LOADER = "/lib64/ld-linux-x86-64.so.2"


@pytest.mark.parametrize(("arch", "machine"), MACHINES.items())
def test_the_architecture(arch: str, machine: int) -> None:
    assert parse_elf(elf_program(machine=machine, big=arch == "s390x")).arch == arch


@pytest.mark.parametrize(
    ("program", "arch"),
    [
        (elf_program(machine=21, big=True), "machine 21, 64-bit big-endian"),  # the older PowerPC
        (elf_program(machine=3, wide=False), "machine 3, 32-bit little-endian"),
        (elf_program(machine=62, wide=False), "machine 62, 32-bit little-endian"),  # x32
        (elf_program(machine=243), "machine 243, 64-bit little-endian"),
    ],
)
def test_an_architecture_that_is_none_of_ours(program: bytes, arch: str) -> None:
    assert parse_elf(program).arch == arch


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("big", [True, False])
def test_a_dynamic_program(wide: bool, big: bool) -> None:
    program = elf_program(
        wide=wide, big=big, interpreter=LOADER, needed=["libtss2-esys.so.0", "libc.so.6"], runpath="$ORIGIN/../lib:/opt"
    )
    found = parse_elf(program)
    assert found.dynamic and found.interpreter == LOADER
    assert found.needed == ("libtss2-esys.so.0", "libc.so.6")
    assert found.runpath == ("$ORIGIN/../lib", "/opt")


def test_a_static_program_needs_nothing() -> None:
    found = parse_elf(elf_program(kind=2))
    assert found == Elf(arch="x86_64", dynamic=False, interpreter=None, needed=(), runpath=())


def test_runpath_counts_before_rpath() -> None:
    assert parse_elf(elf_program(rpath="/a", needed=["x"])).runpath == ("/a",)
    assert parse_elf(elf_program(rpath="/a", runpath="/b", needed=["x"])).runpath == ("/b",)


def test_this_python() -> None:
    program = Path(sys.executable).resolve().read_bytes()
    if not program.startswith(b"\x7fELF"):
        pytest.skip("python is no ELF program here")
    assert parse_elf(program).arch == platform.machine()


def test_readelf_says_the_same() -> None:
    readelf, shell = shutil.which("readelf"), Path("/bin/sh").resolve()
    if readelf is None:
        pytest.skip("readelf is not installed")
    said = subprocess.run([readelf, "-W", "-l", "-d", str(shell)], capture_output=True, text=True, check=True).stdout
    found = parse_elf(shell.read_bytes())
    assert found.interpreter is None or f"interpreter: {found.interpreter}]" in said
    assert [line.split("[")[1].rstrip("]") for line in said.splitlines() if "(NEEDED)" in line] == list(found.needed)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "magic"),
        (b"#!/bin/sh\n", "magic"),
        (elf_program()[:40], "within its header"),
        (b"\x7fELF\x07" + elf_program()[5:], "class 7"),
        (elf_program(kind=1), "type 1 is no program"),
        (elf_program()[:70], "program headers"),
        (elf_program(interpreter=LOADER)[:-10], "interpreter lies beyond"),
        (elf_program(needed=["libc.so.6"])[:-20], "beyond the end"),
    ],
)
def test_what_is_no_program(data: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        parse_elf(data)
    assert caught.value.code == "PVB744"


WHOLE = elf_program(interpreter=LOADER, needed=["libc.so.6", "libm.so.6"], runpath="/opt")


@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=8))
def test_any_damage_gives_a_value_or_an_error(at: int, by: bytes) -> None:
    try:
        parse_elf(WHOLE[:at] + by + WHOLE[at + len(by) :])
    except FormatError as error:
        assert error.code == "PVB744"


@given(st.binary(max_size=300))
def test_any_bytes_give_a_value_or_an_error(data: bytes) -> None:
    try:
        parse_elf(b"\x7fELF" + data)
    except FormatError as error:
        assert error.code == "PVB744"
