"""``podvm-build eventlog diff``: where two logs part."""

from __future__ import annotations

from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.eventlog_inputs import MAX_LOG, kind_option, parse_log
from podvm_builder.cli.input_files import named, read_file
from podvm_builder.errors import Exit, InputError
from podvm_builder.formats.eventlog import EventLog
from podvm_builder.measure.log_diff import TPM, Entry, diff_logs, entries_of_log, entries_of_prediction
from podvm_builder.model.event import Event
from podvm_builder.report.eventlog import partings_to_json, render_partings

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("left", type=_PATH)
@click.argument("right", type=_PATH)
@kind_option
@click.option("--log", "name", default="disk", show_default=True, help="Which log of a measurements.json.")
@format_option
def command(*, left: Path, right: Path, kind: str, name: str, output_format: str) -> int:
    """Compare two logs register by register and show each first difference.

    LEFT and RIGHT are event logs, or a measurements.json, whose predicted log is compared; registers that it has no
    events of are then left out. Exit code 1: the logs differ.
    """
    sides = [_read(path, kind, name) for path in (left, right)]
    known = next((known for _, known in sides if known is not None), kind if kind != "auto" else TPM)
    entries = [
        entries_of_prediction(found, known) if isinstance(found, tuple) else entries_of_log(found, known)
        for found, _ in sides
    ]
    predicted = [
        {entry.register for entry in side} for side, (_, read) in zip(entries, sides, strict=True) if read is None
    ]
    if predicted:
        entries = [_only(side, set.union(*predicted)) for side in entries]
    partings = diff_logs(*entries)
    if output_format == "json":
        print_json(partings_to_json(partings))
    else:
        click.echo(render_partings(partings))
    return int(Exit.FINDING if partings else Exit.OK)


def _read(path: Path, kind: str, name: str) -> tuple[EventLog | tuple[Event, ...], str | None]:
    """Return a log and its kind, or predicted events and None."""
    data = read_file(path, limit=MAX_LOG)
    if not data.lstrip().startswith(b"{"):
        return parse_log(path, data, kind)
    from podvm_builder.formats.documents import parse_measurements

    with named(path):
        logs = parse_measurements(data).logs
    if name not in logs:
        raise InputError(f"`{path}` has no log `{name}`; it has: {', '.join(logs) or 'none'}", code="PVB260")
    return logs[name], None


def _only(side: tuple[Entry, ...], registers: set[str]) -> tuple[Entry, ...]:
    return tuple(entry for entry in side if entry.register in registers)
