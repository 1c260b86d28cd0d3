"""``podvm-build eventlog show``: a log's events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.eventlog_inputs import kind_option, read_log
from podvm_builder.errors import InputError
from podvm_builder.formats.eventlog_replay import check
from podvm_builder.report.eventlog import log_to_json, render_events


@click.command()
@click.argument("log", type=click.Path(path_type=Path))
@kind_option
@click.option(
    "--bank",
    metavar="ALG",
    help="Show this bank's digests alone.  [default: all in JSON; in text sha256, else the last]",
)
@format_option
def command(*, log: Path, kind: str, bank: str | None, output_format: str) -> None:
    """Show the events of LOG with what they say of themselves.

    Descriptions come from the log's data, which anyone may have written: only digests that replay to a register
    count.
    """
    found, known = read_log(log, kind)
    if bank is not None and bank not in found.algorithms:
        raise InputError(
            f"`{log}` has no bank `{bank}`", code="PVB100", hint=f"its banks are {', '.join(found.algorithms)}"
        )
    if output_format == "json":
        banks = found.algorithms if bank is None else (bank,)
        print_json(log_to_json(found, known, {}, check(found), banks=banks))
    else:
        click.echo(render_events(found, known, bank or _usual(found.algorithms)))


def _usual(banks: Sequence[str]) -> str:
    return "sha256" if "sha256" in banks else banks[-1]
