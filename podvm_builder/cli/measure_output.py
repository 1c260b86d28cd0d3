"""How the ``measure`` commands print measurements of a bare file."""

from __future__ import annotations

from collections.abc import Mapping

import click

from podvm_builder.cli.common import print_json
from podvm_builder.model.measurement import Identification, Measurement, MeasurementSet
from podvm_builder.model.region import Region


def print_measurements(
    measurements: tuple[Measurement, ...],
    regions: Mapping[str, tuple[Region, ...]],
    identifies: Identification,
    output_format: str,
    *,
    evidence: str,
) -> None:
    """Print launch measurements that belong to no target, as a document or as a table."""
    print_set(
        MeasurementSet(
            target="",
            ids={},
            identifies_image=identifies,
            logs={},
            regions=regions,
            measurements=measurements,
            evidence=evidence,
        ),
        output_format,
    )


def print_set(found: MeasurementSet, output_format: str) -> None:
    """Print a whole set, as a document or as a table."""
    if output_format == "json":
        from podvm_builder.formats.documents import measurements_to_json

        print_json(measurements_to_json(found))
    else:
        from podvm_builder.report.measurements import render_measurements

        click.echo(render_measurements(found))
