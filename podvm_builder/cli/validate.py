"""``podvm-build validate``: every problem of profiles, with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.errors import Exit, InputError, InputErrors


@click.command()
@click.argument("profiles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PROFILE...")
@format_option
def command(*, profiles: tuple[Path, ...], output_format: str) -> int:
    """Check profiles and say every problem with its place.

    Exits 2 where a profile has a problem.
    """
    results = [(path, *_check(path)) for path in profiles]
    errors = tuple(error for _, _, found in results for error in found)
    if output_format == "json":
        print_json([_json(path, targets, found) for path, targets, found in results])
        return int(Exit.INPUT if errors else Exit.OK)
    for path, targets, found in results:
        if not found:
            click.echo(f"{path}: {len(targets)} {'target' if len(targets) == 1 else 'targets'}: {', '.join(targets)}")
    if errors:
        raise InputErrors(errors)
    return int(Exit.OK)


def _check(path: Path) -> tuple[list[str], tuple[InputError, ...]]:
    from podvm_builder.catalog.load import catalogue
    from podvm_builder.cli.source import read_profile
    from podvm_builder.planning.make import make_plans
    from podvm_builder.planning.profile import parse_profile

    try:
        profile = parse_profile(read_profile(path), file=str(path))
        # whether the profile is right does not depend on what its components hold
        return [str(plan.target) for plan in make_plans(profile, catalogue(), components_digest="")], ()
    except InputErrors as error:
        return [], error.errors
    except InputError as error:
        return [], (error,)


def _json(path: Path, targets: list[str], errors: tuple[InputError, ...]) -> dict[str, Any]:
    return {"file": str(path), "valid": not errors, "targets": targets, "errors": [_error(error) for error in errors]}


def _error(error: InputError) -> dict[str, Any]:
    place = error.place
    return {
        "code": error.code,
        "message": error.message,
        "file": place.file if place else None,
        "line": place.line if place else None,
        "column": place.column if place else None,
        "note": place.note if place else None,
        "hint": error.hint,
    }
