"""``podvm-build refvalues retire``: have a verifier accept an image no longer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.history_options import history_option, keep_record, registered
from podvm_builder.cli.refvalues_options import make_requests, retired_options
from podvm_builder.cli.verifier_options import Verifier, opened, verifier_options

if TYPE_CHECKING:
    from podvm_builder.refvalues.ledger import RegisteredImage
    from podvm_builder.refvalues.registry import ExportRequest


@click.command()
@retired_options
@verifier_options
@click.option(
    "--keep",
    "kept",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="MEASUREMENTS",
    help="An image that stays: no value of it is taken away. May be repeated.",
)
@history_option
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@format_option
def command(
    *,
    verifier: Verifier,
    kept: tuple[Path, ...],
    history: str | None,
    dry_run: bool,
    output_format: str,
    **asked: Any,
) -> None:
    """Have a Trustee accept images no longer.

    Each of MEASUREMENTS is a measurements.json, the folder of a build, or - for stdin.

    The values that identify these images are taken out of the registered lists. Values that other images may share,
    those of the firmware and of the machine, stay, and so does every value of the images to --keep. A list may end
    up empty, and then no machine passes by it. With --history, images that were pushed to the same place and not
    retired since are kept as well.
    """
    from podvm_builder.publish.push import apply
    from podvm_builder.refvalues.merge import combine, join, plan_retire
    from podvm_builder.refvalues.records import flat_map
    from podvm_builder.report.push import changes_to_json, render_changes

    requests = make_requests(**asked)
    gone = combine([(label, _identifying(request)) for label, request in requests])
    staying = make_requests(**{**asked, "measurements": kept})
    stays: list[tuple[str, Mapping[str, Any]]] = [(label, flat_map(one.values())) for label, one in staying]
    leaving = registered(requests)
    _refuse_both(leaving, kept, registered(staying))
    with opened(verifier, trustee=asked["trustee"]) as store:
        stays += _recorded(history, store.where, leaving)
        outcome = apply(store, list(gone), lambda stored: plan_retire(stored, gone, join(stays)), dry_run=dry_run)
    keep_record(history, "retire", outcome, leaving, dry_run=dry_run)
    if output_format == "json":
        print_json(changes_to_json(outcome.where, outcome.changes, dry_run=dry_run))
    else:
        click.echo(render_changes(outcome.where, outcome.changes, dry_run=dry_run))


def _identifying(request: ExportRequest) -> dict[str, Any]:
    """Return the values that are this image's and no other's."""
    from podvm_builder.refvalues.records import flat_map

    values = request.values()
    whose = {one.name for one in values.values if one.register in values.identified_by}
    return {name: value for name, value in flat_map(values).items() if name in whose}


def _refuse_both(leaving: Sequence[RegisteredImage], kept: Sequence[Path], staying: Sequence[RegisteredImage]) -> None:
    """Refuse an image that is to leave and to stay; one that was measured anew has other values."""
    from podvm_builder.errors import InputError

    for path, one in zip(kept, staying, strict=True):
        if any(one.values == other.values for other in leaving):
            raise InputError(
                f"`--keep {path}` is an image to retire", code="PVB659", hint="leave out the one or the other"
            )


def _recorded(
    history: str | None, where: str, leaving: Sequence[RegisteredImage]
) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the values of images that a history says the verifier takes, but for those that leave."""
    if history is None:
        return []
    from podvm_builder.publish.history import open_history
    from podvm_builder.refvalues.ledger import active_images, decode_chain, same_image

    with open_history(history) as place:
        active = active_images(decode_chain(place.chain()), where)
    return [(one.target, one.values) for one in active if not any(same_image(one, other) for other in leaving)]
