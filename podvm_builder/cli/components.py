"""``podvm-build components``: pin the guest's programs, prove where they come from, have them at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.lazy import CommandGroup
from podvm_builder.cli.place import cache_option, say

if TYPE_CHECKING:
    from podvm_builder.model.components import ComponentLock

_LOCK = "components.lock.yaml"
_lock_argument = click.argument("lock", metavar="LOCK", type=click.Path(path_type=Path))


@click.group(cls=CommandGroup)
def command() -> None:
    """Pin the guest's programs, verify where they come from, and fetch them.

    A component set says which programs an image gets and whose provenance they must have; its lock has the digest of
    each, and builds take nothing else.
    """


@command.command()
@click.argument("source", metavar="SET", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default=_LOCK, show_default=True, help="The lock.")
@click.option("--check", is_flag=True, help="Write nothing; say whether the set would give another lock now.")
@cache_option
def lock(*, source: Path, output: Path, check: bool, cache: Path | None) -> None:
    """Resolve a component set to digests, verify every origin, and write the lock."""
    from podvm_builder.build.components.locking import lock_set, rebase
    from podvm_builder.cli.components_place import read_lock, read_set, supplier
    from podvm_builder.errors import Finding
    from podvm_builder.report.components import lock_changes
    from podvm_builder.supply.lock_document import render_lock
    from podvm_builder.tools.cache import open_cache
    from podvm_builder.tools.files import write_named

    _keep(source, output)
    wanted = read_set(source)
    former = read_lock(output) if check else None
    with supplier(source.absolute().parent, open_cache(cache)) as reached:
        made = lock_set(wanted, reached, say=say)
    made = rebase(made, of=source.absolute().parent, to=output.absolute().parent)
    if former is None:
        write_named(output, render_lock(made).encode())
        click.echo(output)
    elif changes := list(lock_changes(former, made)):
        raise Finding(
            f"`{output}` is not what `{source}` gives now: {'; '.join(changes)}",
            code="PVB756",
            hint="see why, then run it without --check to take what is there now",
        )


@command.command()
@_lock_argument
@click.option("--trusted-root", type=click.Path(path_type=Path), help="Sigstore trusted root, in place of the lock's.")
@cache_option
@format_option
def verify(*, lock: Path, trusted_root: Path | None, cache: Path | None, output_format: str) -> None:
    """Check every digest of a lock and every program's provenance.

    What is at hand is not fetched again. Provenance is verified offline, against the trusted root.
    """
    from podvm_builder.build.components.loading import check_lock
    from podvm_builder.cli.components_place import read_lock, supplier
    from podvm_builder.cli.input_files import read_file
    from podvm_builder.report.text import printable
    from podvm_builder.tools.cache import open_cache
    from podvm_builder.tools.provenance import MAX_BUNDLE

    found = read_lock(lock)
    root = None if trusted_root is None else read_file(trusted_root, limit=MAX_BUNDLE)
    rows = []
    with supplier(lock.absolute().parent, open_cache(cache)) as reached:
        for one in check_lock(found, reached, root=root):
            name = one.component.name
            rows.append({"name": name, "verification": one.verification, "note": one.note})
            if output_format == "text":
                click.echo(printable(f"{name}: {one.verification}, {one.note}"))
    if output_format == "json":
        print_json(rows)


@command.command()
@_lock_argument
@cache_option
def pull(*, lock: Path, cache: Path | None) -> None:
    """Fetch what a lock names into the cache, so that a build needs no network for it."""
    from podvm_builder.cli.components_place import read_lock, supplier
    from podvm_builder.tools.cache import open_cache

    found = read_lock(lock)
    with supplier(lock.absolute().parent, open_cache(cache)) as reached:
        reached.pull(found, say=say)


@command.command()
@_lock_argument
@format_option
def show(*, lock: Path, output_format: str) -> None:
    """Say what a lock holds."""
    from podvm_builder.cli.components_place import read_lock
    from podvm_builder.report.components import lock_to_json, render_lock_table

    found: ComponentLock = read_lock(lock)
    if output_format == "json":
        print_json(lock_to_json(found))
    else:
        click.echo(render_lock_table(found))


@command.command(name="import")
@click.argument("versions", metavar="VERSIONS.YAML", type=click.Path(path_type=Path))
@click.option(
    "--tee", required=True, metavar="TAG", help="Attestation-agent's tag: none, amd, tdx, az-cvm-vtpm, cca, se."
)
@click.option("--arch", default="x86_64", show_default=True, help="Processor architecture.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file instead of stdout.")
def import_(*, versions: Path, tee: str, arch: str, output: Path | None) -> None:
    """Turn the pin file of cloud-api-adaptor into a component set."""
    from podvm_builder.cli.components_place import read_text
    from podvm_builder.supply.incumbent import import_versions
    from podvm_builder.tools.files import write_named

    if output is not None:
        _keep(versions, output)
    text = read_text(versions, what="the pin file")
    made = import_versions(text, file=versions.name, tee=tee, arch=arch)
    say(f"not components, and left out: {', '.join(made.left_out)}")
    say("add agent-protocol-forwarder and process-user-data, which cloud-api-adaptor builds itself, before you lock it")
    if output is None:
        click.echo(made.text, nl=False)
    else:
        write_named(output, made.text.encode())


def _keep(source: Path, output: Path) -> None:
    """See that the output would not take the place of what it is made from, under whatever name."""
    from os.path import realpath

    if realpath(source) == realpath(output):
        raise click.UsageError(f"`{output}` is what is read: it would be lost")
