"""``podvm-build measure diff``: which register moved, and what moved it."""

from __future__ import annotations

from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.input_files import named, read_file
from podvm_builder.errors import Exit, InputError
from podvm_builder.formats.documents import MAX_DOCUMENT, parse_measurements
from podvm_builder.measure.diff import diff_manifests, diff_measurements
from podvm_builder.measure.machine import measure_tpm
from podvm_builder.model.layout import MANIFEST, MEASUREMENTS
from podvm_builder.model.manifest import ImageManifest
from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.report.diff import diff_to_json, render_diff
from podvm_builder.tools.disks import open_disk
from podvm_builder.tools.files import hashing_threads
from podvm_builder.tools.output import read_manifest

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("left", metavar="A", type=_PATH)
@click.argument("right", metavar="B", type=_PATH)
@format_option
def command(*, left: Path, right: Path, output_format: str) -> int:
    """Say which registers differ between A and B, in which event or region they part, and what moved them.

    A and B are each a measurements.json, the folder of a built image, or an image or UKI, whose PCRs are then
    predicted. For two folders the packages, components and options that differ are listed, too. Exit code 1: they
    differ.
    """
    ours, our_manifest = _read(left)
    theirs, their_manifest = _read(right)
    registers = diff_measurements(ours, theirs)
    inputs = diff_manifests(our_manifest, their_manifest) if our_manifest and their_manifest else ()
    if output_format == "json":
        print_json(diff_to_json(registers, inputs))
    else:
        click.echo(render_diff(registers, inputs))
    return int(Exit.FINDING if registers else Exit.OK)


def _read(path: Path) -> tuple[MeasurementSet, ImageManifest | None]:
    if path.is_dir():
        document = path / MEASUREMENTS
        if not document.is_file():
            raise InputError(
                f"`{path}` has no {MEASUREMENTS}",
                code="PVB260",
                hint=f"podvm-build measure image {path} --format json > {document}",
            )
        return _document(document), read_manifest(path) if (path / MANIFEST).is_file() else None
    with named(path), open_disk(path) as reader:
        if reader.read_at(0, min(1, reader.size)) != b"{":
            return measure_tpm(reader, workers=hashing_threads()), None
    return _document(path), None


def _document(path: Path) -> MeasurementSet:
    with named(path):
        return parse_measurements(read_file(path, limit=MAX_DOCUMENT))
