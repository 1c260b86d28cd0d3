"""Options and printing that commands share."""

from __future__ import annotations

import json
from typing import Any

import click

format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How stdout is written.",
)

_EXPLAIN = "podvm_builder.explain"


def _keep(context: click.Context, _: click.Parameter, value: str | None) -> str | None:
    context.meta[_EXPLAIN] = value
    return value


explain_option = click.option(
    "--explain",
    metavar="REGISTER",
    callback=_keep,
    expose_value=False,
    help="Print how a register comes to its value instead: each event or region, e.g. tpm.pcr04.",
)
"""Kept in the context, so that it reaches what prints without passing through every command."""


def explained_register() -> str | None:
    """Return the value of ``--explain``, None where it was not given."""
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(_EXPLAIN)


def print_json(value: Any) -> None:
    """Write a value to stdout as indented JSON with a stable key order of its own making."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
