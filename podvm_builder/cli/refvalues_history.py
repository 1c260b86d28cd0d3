"""``podvm-build refvalues history``: what verifiers were told, and which images they take."""

from __future__ import annotations

import click

from podvm_builder.cli.common import format_option, print_json


@click.command()
@click.argument("place", metavar="DIR|oci://REF")
@format_option
def command(*, place: str, output_format: str) -> None:
    """Show a history that `push` and `retire` keep, and the images that each verifier takes by it.

    That no entry is missing or was changed is checked.
    """
    from podvm_builder.publish.history import open_history
    from podvm_builder.refvalues.ledger import active_images, decode_chain
    from podvm_builder.report.history import history_lines, history_to_json
    from podvm_builder.report.text import printable

    with open_history(place) as history:
        entries = decode_chain(history.chain())
    active = {where: active_images(entries, where) for where in dict.fromkeys(entry.where for entry in entries)}
    if output_format == "json":
        print_json(history_to_json(entries, active))
    else:
        click.echo("\n".join(map(printable, history_lines(entries, active))))
