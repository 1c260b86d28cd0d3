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


def print_json(value: Any) -> None:
    """Write a value to stdout as indented JSON with a stable key order of its own making."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
