"""``podvm-build initdata encode``: from a TOML document to an annotation's value."""

from __future__ import annotations

import click

from podvm_builder.cli.initdata_input import read_initdata_file


@click.command()
@click.argument("file", metavar="FILE", type=click.Path())
def command(*, file: str) -> None:
    """Print a document compressed with gzip and in base64, as the annotation of a pod holds it.

    The annotation is `io.katacontainers.config.hypervisor.cc_init_data`. Every byte of the document counts for its
    digest: what is printed unpacks to exactly FILE.
    """
    from podvm_builder.formats.initdata import annotation

    click.echo(annotation(read_initdata_file(file)))
