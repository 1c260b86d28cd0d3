"""Options of the commands that use the cache and package mirrors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def cache_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--cache``."""
    return click.option(
        "--cache",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="Where the tools tree and packages are kept.  [default: $XDG_CACHE_HOME/podvm-build]",
    )(function)


def mirror_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--mirror``."""
    return click.option(
        "--mirror",
        metavar="URL",
        help="Debian archive to fetch packages from.  [default: this host's, else the tools' own]",
    )(function)


def say(line: str) -> None:
    """Say a line of progress on stderr."""
    click.echo(line, err=True)
