"""``podvm-build schema``: the JSON Schema of a document."""

from __future__ import annotations

import click

from podvm_builder.cli.common import print_json


@click.command()
@click.argument("document", type=click.Choice(["profile", "components"]), default="profile")
def command(*, document: str) -> None:
    """Print the JSON Schema of a document: of profiles, or of component sets.

    Editors complete and check a document whose first line is
    `# yaml-language-server: $schema=FILE`.
    """
    from podvm_builder.catalog.load import catalogue
    from podvm_builder.planning.schema import profile_schema
    from podvm_builder.supply.set_schema import set_schema

    print_json(profile_schema(catalogue()) if document == "profile" else set_schema())
