"""``podvm-build evidence``: what machines show of themselves."""

from __future__ import annotations

import click

from podvm_builder.cli.lazy import CommandTable, LazyGroup

COMMANDS: CommandTable = {
    "learn": ("evidence_learn", "Learn a platform profile from the log of a boot."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Read what machines show of themselves."""
