"""``podvm-build refvalues show``: what an exported file registers."""

from __future__ import annotations

from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.input_files import named, read_file
from podvm_builder.cli.refvalues_options import LIMIT, read_document
from podvm_builder.refvalues.registry import FlatMap

_MAX_KEY = 64 << 10
_MAX_FILES = 4096


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="Check the signature: a public key, PEM.")
@format_option
def command(file: Path, key: Path | None, output_format: str) -> None:
    """Show the values that an exported file or folder (- for stdin) registers, as its reader takes them.

    A signature is checked only with --key.
    """
    with named(file):
        form, values = _read(file) if key is None else _checked(file, key)
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


def _checked(file: Path, key: Path) -> tuple[str, FlatMap]:
    """Read a signed file, and refuse it where the key did not sign it."""
    from podvm_builder.errors import Finding, InputError
    from podvm_builder.refvalues.formats import FORMATS, read_any
    from podvm_builder.refvalues.keys import read_verifying_key

    public = read_verifying_key(read_file(key, limit=_MAX_KEY))
    data = read_document(file)
    form, values = read_any(data)
    check = FORMATS[form].check
    if check is None:
        raise InputError(f"`{form}` has no signature", code="PVB665", hint="leave `--key` out")
    if not check(data, public):
        raise Finding("the file is not signed by this key", code="PVB666", hint="take it as it comes from its maker")
    return form, values


def _read(file: Path) -> tuple[str, FlatMap]:
    from podvm_builder.errors import FormatError
    from podvm_builder.refvalues.formats import read_any, read_folder

    if not file.is_dir():
        return read_any(read_document(file))
    found: dict[str, bytes] = {}
    left = LIMIT
    for path in file.rglob("*"):
        if path.is_file():
            data = read_file(path, limit=LIMIT)
            left -= len(data)
            if left < 0 or len(found) == _MAX_FILES:
                raise FormatError(
                    f"the folder has more than {_MAX_FILES} files or {LIMIT >> 20} MiB: no folder of ours",
                    code="PVB607",
                )
            found[path.relative_to(file).as_posix()] = data
    return read_folder(dict(sorted(found.items())))
