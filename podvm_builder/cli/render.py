"""``podvm-build render``: the recipe of a plan, for mkosi or Packer."""

from __future__ import annotations

from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.source import builder_option, input_options, resolve, set_option, source_argument


@click.command()
@source_argument
@set_option
@input_options
@builder_option
@click.option(
    "-o", "--output", "out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where to write it."
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if the folder is not what would be written.")
@format_option
def command(
    *,
    source: str,
    sets: tuple[str, ...],
    components: str | None,
    firmware: str | None,
    builder: str | None,
    out: Path,
    check: bool,
    output_format: str,
) -> None:
    """Write the recipe of a target into DIR, or check that it is there.

    The recipes of a profile, which may plan several targets, go to a folder each below DIR.

    Plain mkosi or Packer builds it; it holds no package mirror, no secret and no path of this machine.
    """
    from podvm_builder.build.recipe import check_options, check_recipe, write_recipe
    from podvm_builder.recipes.render import render
    from podvm_builder.tools.cache import open_cache

    resolved = resolve(source, sets, components=components, firmware=firmware, builder=builder)
    guest = resolved.load(open_cache(None) if resolved.lock is not None else Path())
    # all of them before the first is written: a plan that cannot be rendered leaves every folder as it was
    trees = [
        (plan, out if resolved.target else out / plan.folder, render(plan, guest.files)) for plan in resolved.plans
    ]
    for _, folder, tree in trees:
        if check:
            check_options(folder)
            check_recipe(tree, folder)
        else:
            write_recipe(tree, folder)
        if output_format == "text":
            click.echo(folder)
    if output_format == "json":
        print_json(
            [{"target": str(plan.target), "folder": str(folder), "files": sorted(tree)} for plan, folder, tree in trees]
        )
