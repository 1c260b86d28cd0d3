"""``podvm-build eventlog``: event logs of TPMs and trust domains."""

from __future__ import annotations

import click

from podvm_builder.cli.lazy import CommandTable, LazyGroup

COMMANDS: CommandTable = {
    "show": ("eventlog_show", "Show a log's events."),
    "replay": ("eventlog_replay", "Replay a log to the registers that it explains."),
    "diff": ("eventlog_diff", "Say where two logs part, or a log and a prediction."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Read event logs of TPMs (binary_bios_measurements) and trust domains (CCEL)."""
