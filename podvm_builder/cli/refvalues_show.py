"""``podvm-build refvalues show``: what an exported file registers."""

from __future__ import annotations

from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.input_files import named, read_file
from podvm_builder.cli.refvalues_options import LIMIT, read_document
from podvm_builder.refvalues.registry import FlatMap


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@format_option
def command(file: Path, output_format: str) -> None:
    """Show the values that an exported file or folder (- for stdin) registers, as its reader takes them."""
    with named(file):
        form, values = _read(file)
    if output_format == "json":
        print_json({"form": form, "values": values})
        return
    from podvm_builder.report.text import printable

    lines = [f"form: {form}"]
    for name, value in values.items():
        if value is None:
            lines.append(f"{name}: asked of the RVPS")
            continue
        items = value if isinstance(value, list) else [value]
        lines.append(f"{name}: {f'any of {len(items)}' if isinstance(value, list) else 'exactly'}")
        lines += [f"  {item}" for item in items]
    click.echo("\n".join(map(printable, lines)))


def _read(file: Path) -> tuple[str, FlatMap]:
    from podvm_builder.refvalues.formats import read_any, read_folder

    if not file.is_dir():
        return read_any(read_document(file))
    paths = sorted(path for path in file.rglob("*") if path.is_file())
    return read_folder({path.relative_to(file).as_posix(): read_file(path, limit=LIMIT) for path in paths})
