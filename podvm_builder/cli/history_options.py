"""The option ``--history`` and what commands do with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from podvm_builder.refvalues.registry import ExportRequest

if TYPE_CHECKING:
    from podvm_builder.publish.push import Outcome
    from podvm_builder.refvalues.ledger import RegisteredImage

history_option = click.option(
    "--history",
    metavar="DIR|oci://REF",
    help="Keep a record of what was done, in a folder or under a tag of a registry.",
)


def registered(requests: Sequence[tuple[str, ExportRequest]]) -> list[RegisteredImage]:
    """Return the images of requests as a history has them."""
    from podvm_builder.refvalues.ledger import RegisteredImage
    from podvm_builder.refvalues.records import flat_map

    return [
        RegisteredImage(
            target=request.measurements.target,
            image=request.measurements.ids.get("image", ""),
            values=flat_map(request.values()),
        )
        for _, request in requests
    ]


def check_history(history: str | None) -> None:
    """See that a history can be read, before a verifier is told what it should record.

    Raises:
        InputError, FormatError, RemoteError, Lacking: it cannot.
    """
    if history is None:
        return
    from podvm_builder.publish.history import open_history
    from podvm_builder.refvalues.ledger import decode_chain

    with open_history(history) as place:
        decode_chain(place.chain())


def keep_record(
    history: str | None, action: str, outcome: Outcome, images: Sequence[RegisteredImage], *, dry_run: bool
) -> None:
    """Add an entry where there is something new to say, and say on stderr where.

    Raises:
        InputError, FormatError, RemoteError, Lacking: the history cannot be read or written; the verifier was told all
            the same, which the message then says.
    """
    if history is None or dry_run:
        return
    from podvm_builder.errors import PodvmError
    from podvm_builder.publish.history import open_history, record

    try:
        with open_history(history) as place:
            entry = record(place, action=action, where=outcome.where, images=images, changes=outcome.changes)
    except PodvmError as error:
        error.message = f"{outcome.where} was told, but no record of it was kept: {error.message}"
        raise
    if entry is not None:
        click.echo(f"recorded {entry.file} in {history}", err=True)
