"""A request to end is an interruption: clean-up runs, and the exit code says so."""

from __future__ import annotations

import signal
import subprocess
import sys

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
