"""``podvm-build eventlog replay``: the registers that a log explains."""

from __future__ import annotations

from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.eventlog_inputs import kind_option, read_log
from podvm_builder.errors import Exit
from podvm_builder.formats.eventlog_replay import banks, check, replay
from podvm_builder.report.eventlog import log_to_json, render_replay


@click.command()
@click.argument("log", type=click.Path(path_type=Path))
@kind_option
@format_option
def command(*, log: Path, kind: str, output_format: str) -> int:
    """Fold the events of LOG into the registers that they extend, in every bank.

    Exit code 1: the log holds something that it must not, such as a digest that is not that of its data.
    """
    found, known = read_log(log, kind)
    registers = {bank: replay(found, bank) for bank in banks(found)}
    findings = check(found)
    if output_format == "json":
        print_json(log_to_json(found, known, registers, findings))
    else:
        click.echo(render_replay(known, registers, findings))
    return int(Exit.FINDING if findings else Exit.OK)
