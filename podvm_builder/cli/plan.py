"""``podvm-build plan``: what a target or profile resolves to, and why."""

from __future__ import annotations

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.source import input_options, resolve, set_option, source_argument


@click.command()
@source_argument
@set_option
@input_options
@click.option("--explain", "explain_key", metavar="KEY", help="Say where the value of a dotted key came from.")
@format_option
def command(
    *,
    source: str,
    sets: tuple[str, ...],
    components: str | None,
    firmware: str | None,
    explain_key: str | None,
    output_format: str,
) -> None:
    """Show what a target or profile resolves to, and why.

    JSON is one plan, or the list of them where a profile makes several; with --explain, a list of values and
    the layers that gave them.
    """
    from podvm_builder.report.plan import explain, explain_text, plan_text, plan_to_json

    plans = resolve(source, sets, components=components, firmware=firmware).plans
    if explain_key is not None:
        stories = [explain(plan, explain_key) for plan in plans]
        if output_format == "json":
            print_json([story for found in stories for story in found])
        elif len(plans) == 1:
            click.echo(explain_text(stories[0]))
        else:
            click.echo(
                "\n\n".join(f"{plan.target}\n{explain_text(found)}" for plan, found in zip(plans, stories, strict=True))
            )
    elif output_format == "json":
        documents = [plan_to_json(plan) for plan in plans]
        print_json(documents[0] if len(documents) == 1 else documents)
    else:
        click.echo("\n\n".join(plan_text(plan) for plan in plans))
