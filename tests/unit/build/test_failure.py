"""What is shown of mkosi's log, and what kind of error it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from podvm_builder.build.failure import failure, relevant
from podvm_builder.errors import BuildFailed, Lacking, PodvmError, RemoteError

LOG = Path("/out/x.mkosi.log")


def test_the_output_of_the_failed_command_and_mkosis_complaint() -> None:
    lines = [
        "‣ Building podvm image",
        "‣  Installing Debian",
        "Reading package lists...",
        "E: Unable to locate package nonesuch",
        '‣ "apt-get -o x install nonesuch" returned non-zero exit code 100.',
        "‣ (Unlinking output file)",
        '‣ "something later" returned non-zero exit code 1.',
    ]
    assert relevant(lines) == lines[2:5]


def test_colours_are_taken_out() -> None:
    assert relevant(["\x1b[31m‣ x not found.\x1b[0m"]) == ["‣ x not found."]


def test_a_long_output_is_cut_at_its_beginning() -> None:
    lines = [*(f"line {number}" for number in range(100)), '‣ "cp" returned non-zero exit code 1.']
    shown = relevant(lines)
    assert shown[-2:] == ["line 99", lines[-1]]
    assert len(shown) == 15


def test_a_message_of_mkosis_own() -> None:
    lines = ["‣ Validating", "‣ A bootable image was requested but no kernel was found", "‣ (hint)"]
    assert relevant(lines) == lines[1:]


def test_a_traceback_after_the_last_step() -> None:
    lines = ["‣ Generating disk image", "Traceback (most recent call last):", "KeyError: 'x'"]
    assert relevant(lines) == lines


def test_a_log_without_any_line_of_mkosi() -> None:
    assert relevant(["bash: mkosi: bad interpreter"]) == ["bash: mkosi: bad interpreter"]
    assert relevant([]) == []


@pytest.mark.parametrize(
    ("line", "kind", "code"),
    [
        ("dd: error writing 'x': No space left on device", Lacking, "PVB321"),
        ("tee: x: Disk quota exceeded", Lacking, "PVB321"),
        ("W: Failed to fetch http://m.invalid/InRelease  Connection timed out", RemoteError, "PVB302"),
        ("E: The repository 'http://m.invalid trixie Release' does not have a Release file.", RemoteError, "PVB302"),
        ("Could not resolve 'm.invalid'", RemoteError, "PVB302"),
        ("dpkg: error processing package x", BuildFailed, "PVB410"),
    ],
)
def test_kinds(line: str, kind: type[PodvmError], code: str) -> None:
    error = failure(["‣ Installing Debian", line, '‣ "x" returned non-zero exit code 1.'], status=1, log=LOG)
    assert type(error) is kind
    assert error.code == code
    assert line in error.message
    assert error.place is not None
    assert error.place.file == str(LOG)
