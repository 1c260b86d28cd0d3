"""``podvm-build measure initdata``: what a machine's evidence holds for a pod's initdata."""

from __future__ import annotations

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.initdata_input import read_initdata_file


@click.command()
@click.argument("file", metavar="FILE", type=click.Path())
@format_option
def command(*, file: str, output_format: str) -> None:
    """Show what evidence holds for initdata: PCR 8, SNP's HOST_DATA, TDX's MRCONFIGID, CCA's personalization value.

    FILE is the TOML document, or what a pod's annotation holds: that document compressed with gzip, in base64.
    """
    from podvm_builder.report.initdata import initdata_to_json, render_initdata

    initdata = read_initdata_file(file)
    if output_format == "json":
        print_json(initdata_to_json(initdata))
    else:
        click.echo(render_initdata(initdata))
