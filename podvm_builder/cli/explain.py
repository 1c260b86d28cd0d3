"""``podvm-build explain``: the long story of an error code."""

from __future__ import annotations

from difflib import get_close_matches

import click

from podvm_builder.catalog.pages import error_codes, error_page
from podvm_builder.cli.common import format_option, print_json
from podvm_builder.errors import InputError


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [code for code in error_codes() if code.startswith(incomplete.upper())]


@click.command()
@click.argument("code", shell_complete=_complete)
@format_option
def command(*, code: str, output_format: str) -> None:
    """Explain an error code, e.g. PVB103: what it means and what to do."""
    page = error_page(code.upper())
    if page is None:
        near = get_close_matches(code.upper(), error_codes(), n=3)
        hint = f"near codes are {', '.join(near)}" if near else "codes are PVB and three digits, e.g. PVB103"
        raise InputError(f"`{code}` is not an error code of this release", code="PVB100", hint=hint)
    if output_format == "json":
        print_json({"code": page.code, "title": page.title, "text": page.body})
    else:
        click.echo(page.text, nl=False)
