"""Reading the log that an ``eventlog`` command is given, and its options."""

from __future__ import annotations

from pathlib import Path

import click

from podvm_builder.cli.input_files import named, read_file
from podvm_builder.errors import FormatError
from podvm_builder.formats.eventlog import CODE, EventLog, parse_event_log
from podvm_builder.measure.log_diff import KINDS, log_kind

MAX_LOG = 64 << 20
"""Bytes; a log with 44,000 events has 10 MB."""

kind_option = click.option(
    "--kind",
    type=click.Choice(["auto", *KINDS]),
    default="auto",
    show_default=True,
    help="A TPM's log, or a trust domain's (CCEL), whose registers are numbered in another way.",
)


def read_log(path: Path, kind: str) -> tuple[EventLog, str]:
    """Return a log and its kind.

    Raises:
        InputError: PVB320, it cannot be read.
        FormatError: PVB244, it is not a log.
    """
    data = read_file(path, limit=MAX_LOG)
    return parse_log(path, data, kind)


def parse_log(path: Path, data: bytes, kind: str) -> tuple[EventLog, str]:
    """Do what :func:`read_log` does with bytes that were read already."""
    with named(path):
        if len(data) > MAX_LOG:
            raise FormatError(f"event log: more than {MAX_LOG} bytes", code=CODE)
        log = parse_event_log(data)
    return log, log_kind(log) if kind == "auto" else kind
