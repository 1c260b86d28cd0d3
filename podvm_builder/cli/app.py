"""The door: finds the command, runs it, and turns every outcome into a message and an exit code."""

from __future__ import annotations

import errno
import gc
import io
import os
import signal
import sys
from typing import NoReturn

import click

from podvm_builder import __version__
from podvm_builder.cli.lazy import CommandTable, LazyGroup
from podvm_builder.errors import Exit, InputErrors, PodvmError

COMMANDS: CommandTable = {
    "init": ("init", "Write a first profile."),
    "list": ("list_", "List targets, distributions, TEEs, clouds or firmware."),
    "validate": ("validate", "Check profiles and say every problem with its place."),
    "plan": ("plan", "Show what a target or profile resolves to, and why."),
    "render": ("render", "Write the mkosi recipe of a plan, or check a written one."),
    "build": ("build", "Build the image, measure it, and export reference values."),
    "payload": ("payload", "Write the guest's payload alone, as a tar or a container image."),
    "lint": ("lint", "Look for mistakes in an image, a recipe or a file tree."),
    "boot": ("boot", "Boot a built image and compare the TPM with the prediction."),
    "initdata": ("initdata", "Make, pack and unpack a pod's initdata."),
    "measure": ("measure", "Predict launch digests, MRTD and PCRs."),
    "eventlog": ("eventlog", "Show, replay and compare event logs."),
    "evidence": ("evidence", "Learn what a machine's firmware measures."),
    "refvalues": ("refvalues", "Export reference values to a verifier."),
    "components": ("components", "Pin the guest's programs, and verify where they come from."),
    "doctor": ("doctor", "Say what this machine lacks, and how to get it."),
    "tools": ("tools", "Make, show or remove the private tools tree."),
    "schema": ("schema", "Print the JSON Schema of a document."),
    "explain": ("explain", "Explain an error code."),
    "completion": ("completion", "Print a shell's completion script."),
}

_OUTPUT_FAILS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="podvm-build")
def cli() -> None:
    """Build confidential PodVM images and predict what hardware will measure.

    stdout is data, stderr is talk. Exit codes: 0 done, 1 a finding or mismatch, 2 bad input, 3 the
    environment lacks something, 4 an external build failed, 5 a remote refused, 70 our bug, 130 interrupted.
    """


def main() -> NoReturn:
    """Run the command line and exit."""
    _fill_standard_descriptors()
    if isinstance(sys.stdout.buffer, io.RawIOBase):
        # as PYTHONUNBUFFERED has it, and then Python says nothing of what a full disk did not take
        sys.stdout = open(1, "w", encoding=sys.stdout.encoding, closefd=False)  # noqa: SIM115 - a standard stream stays open to the end
    # a request to end is an interruption like Ctrl-C: what is under way is ended and cleaned up
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` has the latter ignored
            signal.signal(number, signal.default_int_handler)
    code = run(sys.argv[1:])
    gc.freeze()  # at the exit, all is garbage: nothing is gained by looking for it
    sys.exit(code)


def run(args: list[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        result = cli.main(args=args, prog_name="podvm-build", standalone_mode=False)
        sys.stdout.flush()
    except PodvmError as error:
        return _report(error)
    except click.exceptions.Abort:
        return _interrupted()
    except KeyboardInterrupt:
        return _interrupted()
    except click.ClickException as error:
        return _usage(error)
    except BrokenPipeError:
        # the reader of our output has gone: nothing more to say, and nothing for Python to flush at exit
        _drop_output()
        return int(Exit.OK)
    except OSError as error:
        return _unwritten(error) if error.filename is None and error.errno in _OUTPUT_FAILS else _bug()
    except Exception:  # noqa: BLE001 - the one place: whatever gets here is our bug
        return _bug()
    return result if isinstance(result, int) else int(Exit.OK)


def _report(error: PodvmError) -> int:
    from podvm_builder.report.errors import render_error

    errors = error.errors if isinstance(error, InputErrors) else (error,)
    for one in errors:
        click.echo(render_error(one), err=True)
    if len(errors) > 1:
        click.echo(f"found {len(errors)} errors", err=True)
    return int(error.exit_code)


def _usage(error: click.ClickException) -> int:
    from podvm_builder.report.errors import render_error

    context = getattr(error, "ctx", None)
    hint = f"`{context.command_path} --help` lists the options" if context is not None else None
    message = error.format_message().rstrip(".")
    click.echo(render_error(PodvmError(message[:1].lower() + message[1:], code="PVB100", hint=hint)), err=True)
    return int(Exit.INPUT)


def _interrupted() -> int:
    click.echo("interrupted; the last complete output is as it was", err=True)
    return int(Exit.INTERRUPTED)


def _unwritten(error: OSError) -> int:
    """Say that stdout cannot be written; other places have their own message before they get here."""
    from podvm_builder.errors import Lacking

    _drop_output()
    if error.errno == errno.EBADF:
        message, code, hint = "stdout is closed", "PVB322", "leave it open, or send it to /dev/null"
    else:
        message, code, hint = f"no space left for the output: {error.strerror}", "PVB321", "free some space"
    return _report(Lacking(message, code=code, hint=hint))


def _drop_output() -> None:
    """See that what could not be written is not tried again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fill_standard_descriptors() -> None:
    """Put something in the place of standard streams that were closed before we were started.

    The files that we open would get their numbers, and what a program of ours says would be written into them.
    stdout is opened for reading, so that what a command prints is not lost without a word.
    """
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        if number == 1:
            os.close(number)
            os.open(os.devnull, os.O_RDONLY)
        os.set_inheritable(number, True)
    os.close(number)
    # Python leaves those that are closed out
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - a standard stream stays open to the end
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - a standard stream stays open to the end
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - a standard stream stays open to the end


def _bug() -> int:
    import tempfile
    import traceback

    trace = traceback.format_exc()
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="podvm-build-", suffix=".trace", delete=False, encoding="utf-8"
        ) as file:
            file.write(trace)
        hint = f"please report it with {file.name}"
    except OSError as error:
        click.echo(trace, err=True, nl=False)
        hint = f"please report it with the trace above, which could not be kept: {error.strerror}"
    click.echo(f"error[PVB900]: internal error: {trace.strip().splitlines()[-1]}\nhint: {hint}", err=True)
    return int(Exit.BUG)
