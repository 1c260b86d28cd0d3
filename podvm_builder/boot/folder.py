"""A build's output folder, as `boot` reads it and writes to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podvm_builder.errors import FormatError
from podvm_builder.formats.documents import parse_measurements
from podvm_builder.model.layout import MEASUREMENTS, RAW, UKI
from podvm_builder.model.manifest import ImageManifest
from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.tools.files import write_atomic
from podvm_builder.tools.output import damaged, output_file, read_manifest, read_output


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOutput:
    """What a boot needs of a build."""

    image: Path
    """The raw disk."""
    manifest: ImageManifest
    measurements: MeasurementSet

    @property
    def kernel(self) -> Path:
        """The UKI beside the disk, which need not be there."""
        return self.image.with_name(UKI)


def read_folder(folder: Path) -> BuildOutput:
    """Read a build's output.

    Raises:
        InputError: PVB500, a file is absent or unreadable.
        FormatError: PVB500, a document is not what its name says; the place names the file.
    """
    image = output_file(folder, RAW)
    manifest = read_manifest(folder)
    try:
        measurements = parse_measurements(read_output(folder, MEASUREMENTS))
    except FormatError as error:
        raise damaged(folder / MEASUREMENTS, error.what) from error
    return BuildOutput(image=image, manifest=manifest, measurements=measurements)


def write_result(folder: Path, result: dict[str, Any], serial_log: str, timeline: str) -> None:
    """Write ``boot/serial.log``, ``boot/timeline.svg`` and ``boot/result.json``, each whole or not at all.

    Raises:
        Lacking: no space, or the folder is not ours to write.
    """
    write_atomic(folder / "boot" / "serial.log", serial_log.encode())
    write_atomic(folder / "boot" / "timeline.svg", timeline.encode())
    write_atomic(folder / "boot" / "result.json", (json.dumps(result, indent=2) + "\n").encode())
