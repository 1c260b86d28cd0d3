"""How the ``measure`` commands print measurements of a bare file."""

from __future__ import annotations

from collections.abc import Mapping

import click

from podvm_builder.cli.common import explained_register, print_json
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
    """Print a whole set, or the register that is to be explained, as a document or as a table."""
    register = explained_register()
    if register is not None:
        _print_explanations(found, register, output_format)
    elif output_format == "json":
        from podvm_builder.formats.documents import measurements_to_json

        print_json(measurements_to_json(found))
    else:
        from podvm_builder.report.measurements import render_measurements

        click.echo(render_measurements(found))


def _print_explanations(found: MeasurementSet, register: str, output_format: str) -> None:
    from podvm_builder.measure.explain import explain
    from podvm_builder.report.explain import explanations_to_json, render_explanations

    explanations = explain(found, register)
    if output_format == "json":
        print_json(explanations_to_json(explanations))
    else:
        click.echo(render_explanations(explanations))
