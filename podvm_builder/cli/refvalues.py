"""``podvm-build refvalues``: export reference values to a verifier, and show what an exported file holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.input_files import named, read_file
from podvm_builder.cli.lazy import CommandGroup
from podvm_builder.model.layout import MEASUREMENTS
from podvm_builder.refvalues import EXPORTERS, NEWEST, SUPPORTED, ExportOptions
from podvm_builder.refvalues.trustee import RULES

if TYPE_CHECKING:
    from podvm_builder.model.refvalue import ReferenceValues

_DEFAULTS = ExportOptions()
_LIMIT = 64 << 20
"""Bytes; no document may have more, and its parser says so."""


@click.group(cls=CommandGroup)
def command() -> None:
    """Export reference values to a verifier."""


@command.command()
@click.argument("measurements", type=click.Path(path_type=Path))
@click.option("--to", "to", type=click.Choice(list(EXPORTERS)), required=True, help="Form of the output.")
@click.option(
    "--trustee",
    default=NEWEST,
    show_default=True,
    metavar="VERSION",
    help=f"Trustee's version, {SUPPORTED[0]} to {SUPPORTED[-1]}.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file instead of stdout.")
@click.option(
    "--evidence",
    metavar="KIND",
    help=f"What the machine sends to Trustee ({', '.join(RULES)}), where the measurements do not say.",
)
@click.option("--allow-unbound-image", is_flag=True, help="Export values that any image passes with.")
@click.option(
    "--expires",
    metavar="TIME",
    default=_DEFAULTS.expiration,
    show_default=True,
    help="Expiration of stored records, UTC. No Trustee from 0.16 on acts on it.",
)
@click.option("--name", default=_DEFAULTS.name, show_default=True, help="Name of the ConfigMap.")
@click.option("--namespace", default=_DEFAULTS.namespace, show_default=True, help="Namespace of the ConfigMap.")
def export(
    *,
    measurements: Path,
    to: str,
    trustee: str,
    output: Path | None,
    evidence: str | None,
    allow_unbound_image: bool,
    expires: str,
    name: str,
    namespace: str,
) -> None:
    """Export measurements in the form that Trustee reads.

    MEASUREMENTS is a measurements.json, the folder of a build, or - for stdin.

    Only registers with a value that the measurements justify are exported, and only where they identify the
    image. What is left out, and what a policy with these values does not catch, is said on stderr.
    """
    from podvm_builder.formats.documents import parse_measurements
    from podvm_builder.refvalues import export as encode
    from podvm_builder.refvalues import reference_values

    options = ExportOptions(expiration=expires, name=name, namespace=namespace)
    source = measurements / MEASUREMENTS if measurements.is_dir() else measurements
    with named(source):
        found = parse_measurements(_read(source))
    values = reference_values(found, trustee=trustee, evidence=evidence, allow_unbound=allow_unbound_image)
    document = encode(values, to, options)
    if output is None:
        click.echo(document.decode("utf-8"), nl=False)
    else:
        from podvm_builder.tools.files import write_named

        write_named(output, document)
    from podvm_builder.report.text import printable

    for line in summary(values):
        click.echo(printable(line), err=True)
    if output is not None:
        click.echo(f"wrote {output}", err=True)


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@format_option
def show(file: Path, output_format: str) -> None:
    """Show the values that an exported file (- for stdin) registers, as Trustee reads them."""
    from podvm_builder.refvalues.readers import read_any

    with named(file):
        form, values = read_any(_read(file))
    if output_format == "json":
        print_json({"form": form, "values": values})
        return
    from podvm_builder.report.text import printable

    lines = [f"form: {form}"]
    for name, value in values.items():
        items = value if isinstance(value, list) else [value]
        lines.append(f"{name}: {f'any of {len(items)}' if isinstance(value, list) else 'exactly'}")
        lines += [f"  {item}" for item in items]
    click.echo("\n".join(map(printable, lines)))


def _identification(values: ReferenceValues) -> str:
    if not values.identified_by:
        return "no"
    by = ", ".join(values.identified_by)
    if not values.not_compared:
        return f"yes (by {by})"
    return f"in part (by {by}; the default policy does not compare {', '.join(values.not_compared)})"


def _read(path: Path) -> bytes:
    if path == Path("-"):
        return sys.stdin.buffer.read(_LIMIT + 1)
    return read_file(path, limit=_LIMIT)


def summary(values: ReferenceValues) -> list[str]:
    """Return what a user must know of exported values, a line each."""
    lines = [
        f"{one.name}: {len(one.value) if isinstance(one.value, tuple) else 1} value(s) from {one.register}"
        for one in values.values
    ]
    lines += [f"not exported: {omission.name}: {omission.reason}" for omission in values.omitted]
    lines.append(f"read by the policy as well, for the platform's owner to register: {', '.join(values.platform)}")
    lines.append(f"identifies the image: {_identification(values)}")
    lines += [f"caution: {caution}" for caution in values.cautions]
    return lines
