"""``podvm-build initdata decode``: from an annotation's value to the TOML document."""

from __future__ import annotations

import sys

import click

from podvm_builder.cli.initdata_input import read_initdata_file


@click.command()
@click.argument("file", metavar="FILE", type=click.Path())
def command(*, file: str) -> None:
    """Print the TOML document of an annotation, byte by byte."""
    sys.stdout.buffer.write(read_initdata_file(file).toml)
