"""``podvm-build tools``: the private tools tree and the cache around it."""

from __future__ import annotations

from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.lazy import CommandGroup
from podvm_builder.cli.place import cache_option, mirror_option, say


@click.group(cls=CommandGroup)
def command() -> None:
    """Make, show or remove the private tools tree.

    It is a Debian of its own that holds mkosi, QEMU and everything else that a build or a boot runs. It is made once
    for each version of its package list, by the first command that needs it.
    """


@command.command()
@mirror_option
@cache_option
def make(*, mirror: str | None, cache: Path | None) -> None:
    """Make the tree if it is not there, and print its folder."""
    from podvm_builder.tools.cache import open_cache
    from podvm_builder.tools.tree import ensure_tree

    click.echo(ensure_tree(cache=open_cache(cache), progress=say, mirror=mirror).root)


@command.command()
@cache_option
@format_option
def show(*, cache: Path | None, output_format: str) -> None:
    """Say where the tree is and what is in it."""
    from podvm_builder.catalog.load import catalogue
    from podvm_builder.tools.cache import default_cache
    from podvm_builder.tools.tree import load_tree

    place = (cache or default_cache()).absolute()
    spec = catalogue().tools
    tree = load_tree(place, spec.id)
    if output_format == "json":
        print_json(
            {
                "cache": str(place),
                "spec": spec.id,
                "suite": spec.suite,
                "requested": list(spec.packages),
                "made": tree is not None,
                "root": str(tree.root) if tree else None,
                "packages_digest": tree.packages_digest if tree else None,
                "packages": dict(tree.versions) if tree else None,
            }
        )
        return
    click.echo(f"cache     {place}")
    click.echo(f"spec      {spec.id} (Debian {spec.suite}, {len(spec.packages)} packages asked for)")
    if tree is None:
        click.echo("tree      not made yet")
        return
    click.echo(f"tree      {tree.root}")
    click.echo(f"packages  {len(tree.versions)}, sha256:{tree.packages_digest}")
    for name in spec.packages:
        click.echo(f"  {name} {tree.versions.get(name, '(absent)')}")


@command.command()
@click.option("--all", "everything", is_flag=True, help="Packages, package layers, firmware and components as well.")
@cache_option
def remove(*, everything: bool, cache: Path | None) -> None:
    """Remove the tree.

    The next command that needs it makes it anew, from the archive's newest packages.
    """
    from podvm_builder.tools.cache import default_cache, remove_contents
    from podvm_builder.tools.tree import remove_trees

    place = (cache or default_cache()).absolute()
    if not place.is_dir():
        say(f"there is no cache in {place}")
        return
    removed = remove_trees(place)
    say(f"removed {removed} tools tree{'' if removed == 1 else 's'}")
    if everything:
        remove_contents(place)
        say("removed packages, package layers, firmware and blobs of registries")
