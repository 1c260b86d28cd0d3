"""``podvm-build lint``: what is wrong with an image, a recipe or a file tree, seen without running it."""

from __future__ import annotations

import click

from podvm_builder.cli.common import print_json
from podvm_builder.cli.lint_inputs import open_given


@click.command()
@click.argument("source", metavar="DIR|RECIPE|TREE|TARGET")
@click.option("--target", metavar="TARGET", help="What a tree or image is for, where it does not say so itself.")
@click.option("--cmdline", metavar="TEXT", help="Kernel command line of a tree.")
@click.option("--contract", is_flag=True, help="Print the guest's contract beside what is there, as Markdown.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "github", "sarif"]),
    default="text",
    show_default=True,
    help="How stdout is written.",
)
def command(
    *,
    source: str,
    target: str | None,
    cmdline: str | None,
    contract: bool,
    output_format: str,
) -> int:
    """Look for mistakes in an image, a recipe or a file tree; exit 1 if there are any.

    DIR is the output folder of a build, or a raw disk image; RECIPE a folder that `render` wrote; TREE any folder
    that holds a root file system; TARGET a target or profile, whose recipes are looked at. Nothing is run, mounted or
    changed, and no special right is needed. `podvm-build explain CODE` tells more of a finding.
    """
    from podvm_builder.errors import Exit
    from podvm_builder.lint.known import own_knowledge
    from podvm_builder.lint.run import lint
    from podvm_builder.lint.table import RULES
    from podvm_builder.report.lint import lint_to_github, lint_to_json, lint_to_sarif, render_lint

    known = own_knowledge()
    with open_given(source, target=target, cmdline=cmdline) as subjects:
        if contract:
            from podvm_builder.report.contract import contract_table

            for one in subjects:
                click.echo(contract_table(one.subject, known), nl=False)
            return int(Exit.OK)
        reports = [lint(one.subject, known, target=one.target, suppressions=one.suppressions) for one in subjects]
    if output_format == "json":
        print_json([lint_to_json(report) for report in reports])
    elif output_format == "sarif":
        print_json(lint_to_sarif(reports, {rule.code: (rule.name, rule.mend) for rule in RULES}))
    elif output_format == "github":
        text = lint_to_github(reports)
        if text:
            click.echo(text)
    else:
        click.echo("\n\n".join(map(render_lint, reports)))
    return int(Exit.FINDING if any(report.findings for report in reports) else Exit.OK)
