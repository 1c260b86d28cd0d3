"""``podvm-build schema``: the JSON Schema of a document."""

from __future__ import annotations

import click

from podvm_builder.cli.common import print_json


@click.command()
@click.argument("document", type=click.Choice(["profile"]), default="profile")
def command(*, document: str) -> None:
    """Print the JSON Schema of a document.

    Editors complete and check a profile whose first line is
    `# yaml-language-server: $schema=FILE`.
    """
    from podvm_builder.catalog.load import catalogue
    from podvm_builder.planning.schema import profile_schema

    schemas = {"profile": profile_schema}
    print_json(schemas[document](catalogue()))
