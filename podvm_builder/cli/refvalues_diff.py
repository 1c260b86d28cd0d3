"""``podvm-build refvalues diff``: what a verifier must be told anew, and why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.refvalues_options import compared_options, make_request
from podvm_builder.errors import Exit
from podvm_builder.model.layout import MANIFEST
from podvm_builder.model.manifest import ImageManifest


@click.command()
@compared_options
@format_option
def command(*, left: Path, right: Path, output_format: str, **asked: Any) -> int:
    """Say which reference values differ between A and B, of which register, and what moved it.

    A and B are each a measurements.json or the folder of a build; of two folders the packages, components and options
    that differ are listed, too. Exit code 1: they differ.
    """
    from podvm_builder.measure.diff import diff_manifests
    from podvm_builder.refvalues.compare import compare
    from podvm_builder.report.refvalues_diff import comparison_lines, comparison_to_json
    from podvm_builder.report.text import printable

    ours, theirs = (make_request(measurements=path, **asked) for path in (left, right))
    found = compare(ours, theirs)
    one, other = _manifest(left), _manifest(right)
    inputs = diff_manifests(one, other) if one is not None and other is not None else ()
    targets = (ours.measurements.target or str(left), theirs.measurements.target or str(right))
    if output_format == "json":
        print_json(comparison_to_json(targets, found, inputs))
    else:
        click.echo("\n".join(map(printable, comparison_lines(targets, found, inputs))))
    return int(Exit.OK if found.equal else Exit.FINDING)


def _manifest(path: Path) -> ImageManifest | None:
    from podvm_builder.tools.output import read_manifest

    return read_manifest(path) if os.path.isfile(path / MANIFEST) else None  # noqa: PTH113 - it raises nothing
