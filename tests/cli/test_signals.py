"""A request to end is an interruption: clean-up runs, and the exit code says so."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import signal, sys, threading
import podvm_builder.cli.app as app

def work(*, args, prog_name, standalone_mode):
    try:
        print("working", flush=True)
        while True:
            signal.pause()
    finally:
        print("cleaned up", flush=True)

app.cli.main = work
app.main()
"""


@pytest.mark.usefixtures("hang_up")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_is_an_interruption(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"working\n"
        process.send_signal(number)
        assert process.stdout.read() == b"cleaned up\n"
        assert b"interrupted" in process.stderr.read()
    assert process.returncode == 130


def test_what_is_ignored_stays_ignored() -> None:
    asked = PROGRAM.replace("signal.pause()", "return print(repr(signal.getsignal(signal.SIGHUP)))")
    done = subprocess.run(
        ["nohup", sys.executable, "-c", asked], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert "SIG_IGN" in done.stdout


def test_a_full_disk_behind_stdout_is_said_and_no_bug_of_ours() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - the device, as a shell opens it
        done = subprocess.run(
            [sys.executable, "-m", "podvm_builder", "list", "targets"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 3
    assert b"error[PVB321]" in done.stderr


@pytest.mark.parametrize(
    ("shell", "code", "said"),
    [
        ('"$@" list targets >&-', 3, "error[PVB322]: stdout is closed"),
        ('"$@" list targets <&- >/dev/null', 0, ""),
        ('"$@" refvalues show - <&-', 2, "error[PVB607]"),
        ('"$@" list targets >&- 2>&- <&-', 3, ""),
    ],
)
def test_standard_streams_that_are_closed(shell: str, code: int, said: str) -> None:
    done = subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, "-m", "podvm_builder"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_may_not_grow_is_said_and_no_bug_of_ours(tmp_path: Path, unbuffered: str) -> None:
    with (tmp_path / "out").open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "podvm_builder", "list", "targets", "--format", "json"],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=output,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 3
    assert b"error[PVB321]" in done.stderr
