"""``podvm-build refvalues push``: have a verifier accept images besides those that it accepts already."""

from __future__ import annotations

from typing import Any

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.history_options import check_history, history_option, keep_record, registered
from podvm_builder.cli.refvalues_options import make_requests, requests_options
from podvm_builder.cli.verifier_options import Verifier, opened, verifier_options


@click.command()
@requests_options
@verifier_options
@click.option("--replace", multiple=True, metavar="NAME", help="Overwrite what is registered under a name.")
@history_option
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@format_option
def command(
    *,
    verifier: Verifier,
    replace: tuple[str, ...],
    history: str | None,
    dry_run: bool,
    output_format: str,
    **asked: Any,
) -> None:
    """Register the reference values of images with a Trustee, or put them into its operator's ConfigMap.

    Each of MEASUREMENTS is a measurements.json, the folder of a build, or - for stdin.

    What is registered is read first; values of other images stay; what was written is read back. Doing it again
    changes nothing. A name that can hold a single value only is refused where another is registered.
    """
    from podvm_builder.errors import InputError
    from podvm_builder.publish.push import apply
    from podvm_builder.refvalues.admission import admit
    from podvm_builder.refvalues.merge import combine, plan_push
    from podvm_builder.refvalues.records import flat_map
    from podvm_builder.report.push import changes_to_json, render_changes
    from podvm_builder.report.text import printable

    requests = make_requests(**asked)
    for _, request in requests:
        admit(request.measurements.flags, request.allow)
    values = [(label, request.values()) for label, request in requests]
    wanted = combine([(label, flat_map(one)) for label, one in values])
    unknown = next((name for name in replace if name not in wanted), None)
    if unknown is not None:
        raise InputError(
            f"`--replace {unknown}`: these images have no value of that name",
            code="PVB659",
            hint=f"they have {', '.join(wanted)}",
        )
    check_history(history)
    with opened(verifier, trustee=asked["trustee"]) as store:
        outcome = apply(store, list(wanted), lambda stored: plan_push(stored, wanted, replace=replace), dry_run=dry_run)
    keep_record(history, "push", outcome, registered(requests), dry_run=dry_run)
    if output_format == "json":
        print_json(changes_to_json(outcome.where, outcome.changes, dry_run=dry_run))
    else:
        click.echo(render_changes(outcome.where, outcome.changes, dry_run=dry_run))
    for label, one in values:
        for caution in one.cautions:
            click.echo(printable(f"caution: {label}: {caution}"), err=True)
