"""``podvm-build refvalues retire``: have a verifier accept an image no longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.refvalues_options import make_requests, retired_options
from podvm_builder.cli.verifier_options import Verifier, opened, verifier_options


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
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@format_option
def command(*, verifier: Verifier, kept: tuple[Path, ...], dry_run: bool, output_format: str, **asked: Any) -> None:
    """Have a Trustee accept images no longer.

    Each of MEASUREMENTS is a measurements.json, the folder of a build, or - for stdin.

    The values that identify these images are taken out of the registered lists. Values that other images may share,
    those of the firmware and of the machine, stay, and so does every value of the images to --keep. A list may end
    up empty, and then no machine passes by it.
    """
    from podvm_builder.publish.push import apply
    from podvm_builder.refvalues.merge import combine, plan_retire
    from podvm_builder.refvalues.records import flat_map
    from podvm_builder.report.push import changes_to_json, render_changes

    gone = combine([(label, _identifying(request)) for label, request in make_requests(**asked)])
    staying = make_requests(**{**asked, "measurements": kept})
    stays = combine([(label, flat_map(request.values())) for label, request in staying])
    with opened(verifier, trustee=asked["trustee"]) as store:
        outcome = apply(store, list(gone), lambda stored: plan_retire(stored, gone, stays), dry_run=dry_run)
    if output_format == "json":
        print_json(changes_to_json(outcome.where, outcome.changes, dry_run=dry_run))
    else:
        click.echo(render_changes(outcome.where, outcome.changes, dry_run=dry_run))


def _identifying(request: Any) -> dict[str, Any]:
    """Return the values that are this image's and no other's."""
    from podvm_builder.refvalues.records import flat_map

    values = request.values()
    whose = {one.name for one in values.values if one.register in values.identified_by}
    return {name: value for name, value in flat_map(values).items() if name in whose}
