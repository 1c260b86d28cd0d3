"""Whether programs are programs, for the right processor, and find what they are linked with."""

from __future__ import annotations

import pytest

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.filetree import Kind, TreeEntry
from podvm_builder.guest.linking import check_program, unmet
from tests.support.elf import elf_program

LOADER = "/lib64/ld-linux-x86-64.so.2"
MUSL = "/lib/ld-musl-x86_64.so.1"


class Root:
    """A root file system by its paths; a value is a link's target, empty for a file."""

    def __init__(self, paths: dict[str, str]) -> None:
        self._paths = paths

    def list(self, path: str) -> tuple[TreeEntry, ...]:
        prefix = f"{path}/" if path else ""
        names: dict[str, TreeEntry] = {}
        for one, target in self._paths.items():
            if one.startswith(prefix):
                name, deeper, _ = one.removeprefix(prefix).partition("/")
                kind = Kind.FOLDER if deeper else Kind.LINK if target else Kind.FILE
                names[name] = TreeEntry(name=name, kind=kind, target=target)
        return tuple(names.values())

    def read(self, path: str) -> bytes:
        raise AssertionError(path)


DEBIAN = Root(
    {
        "lib": "usr/lib",
        "lib64": "usr/lib64",
        "usr/lib64/ld-linux-x86-64.so.2": "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": "",
        "usr/lib/x86_64-linux-gnu/libc.so.6": "",
        "usr/lib/x86_64-linux-gnu/libtss2-esys.so.0": "libtss2-esys.so.0.0.1",
        "usr/lib/x86_64-linux-gnu/libdangling.so.1": "nowhere",
        "opt/agent/bin/agent": "",
        "opt/agent/lib/libown.so": "",
        "usr/bin/sh": "dash",
        "usr/bin/dash": "",
        "bin": "usr/bin",
    }
)


def missing(path: str = "usr/local/bin/agent", **program: object) -> tuple[str, ...]:
    return unmet(DEBIAN, path, elf_program(**program))  # type: ignore[arg-type]


def test_a_program_whose_libraries_are_there() -> None:
    assert missing(interpreter=LOADER, needed=["libc.so.6"]) == ()


def test_a_static_program_needs_nothing() -> None:
    assert missing(kind=2) == ()


def test_what_is_missing_is_named() -> None:
    needed = ["libc.so.6", "libtss2-tctildr.so.0", "libtss2-esys.so.0"]
    # the last one's link leads nowhere
    assert missing(interpreter=LOADER, needed=needed) == ("libtss2-tctildr.so.0", "libtss2-esys.so.0")
    assert missing(interpreter=LOADER, needed=["libdangling.so.1"]) == ("libdangling.so.1",)


def test_an_interpreter_that_is_not_there() -> None:
    # musl does not look into the architecture's folder
    assert missing(interpreter=MUSL, needed=["libc.so.6"]) == (MUSL, "libc.so.6")


def test_folders_of_its_own() -> None:
    own = {"interpreter": LOADER, "needed": ["libown.so"]}
    assert missing(**own) == ("libown.so",)
    assert missing(**own, runpath="/opt/agent/lib") == ()
    assert missing("opt/agent/bin/agent", **own, runpath="$ORIGIN/../lib") == ()
    assert missing("opt/agent/bin/agent", **own, runpath="${ORIGIN}/lib") == ("libown.so",)
    # relative to wherever it is started from: no folder to rely on
    assert missing("opt/agent/bin/agent", **own, runpath="opt/agent/lib") == ("libown.so",)
    assert missing(interpreter=LOADER, needed=["/opt/agent/lib/libown.so"]) == ()


@pytest.mark.parametrize(
    ("script", "lacks"),
    [
        (b"#!/bin/sh\nexit\n", ()),
        (b"#! /bin/sh -e\n", ()),
        (b"#!/usr/bin/python3\n", ("/usr/bin/python3",)),
        (b"#!\n", ("an interpreter",)),
    ],
)
def test_a_script_s_interpreter(script: bytes, lacks: tuple[str, ...]) -> None:
    assert unmet(DEBIAN, "usr/local/bin/x", script) == lacks


def test_a_program_for_the_architecture_is_one() -> None:
    check_program(elf_program(), what="agent", arch="x86_64")
    check_program(b"#!/bin/sh\n", what="agent", arch="s390x")


def test_a_program_for_another_architecture() -> None:
    with pytest.raises(InputError, match="`agent` is a program for aarch64, not for x86_64") as caught:
        check_program(elf_program(machine=183), what="agent", arch="x86_64")
    assert caught.value.code == "PVB745"


@pytest.mark.parametrize("data", [b"", b"<html>", b"\x7fELF", b"\x28\xb5\x2f\xfd"])
def test_what_is_no_program(data: bytes) -> None:
    with pytest.raises(FormatError, match="`agent`") as caught:
        check_program(data, what="agent", arch="x86_64")
    assert caught.value.code == "PVB744"
