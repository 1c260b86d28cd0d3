"""``podvm-build initdata``: the documents that configure a machine when it starts."""

from __future__ import annotations

import click

from podvm_builder.cli.lazy import CommandTable, LazyGroup

COMMANDS: CommandTable = {
    "make": ("initdata_make", "Write initdata and user data of a profile's documents."),
    "encode": ("initdata_encode", "Print what a pod's annotation holds for a TOML document."),
    "decode": ("initdata_decode", "Print the TOML document that an annotation holds."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Make, pack and unpack the initdata that configures a machine when it starts."""
