"""A build's output folder, as `boot` reads it and writes to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podvm_builder.errors import FormatError, InputError, Place
from podvm_builder.formats.documents import MAX_DOCUMENT, parse_measurements
from podvm_builder.formats.manifest import manifest_from_json
from podvm_builder.model.layout import MANIFEST, MEASUREMENTS, RAW, UKI
from podvm_builder.model.manifest import ImageManifest
from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.tools.files import write_atomic


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
    if not folder.is_dir():
        raise InputError(f"`{folder}` is not a folder", code="PVB500", hint="give the folder that `build` printed")
    image = folder / RAW
    if not image.is_file():
        raise _absent(image)
    try:
        manifest = manifest_from_json(json.loads(_read(folder / MANIFEST)))
    except (ValueError, RecursionError) as error:
        raise _damaged(folder / MANIFEST, f"not JSON: {error}") from error
    except FormatError as error:
        raise _damaged(folder / MANIFEST, error.what) from error
    try:
        measurements = parse_measurements(_read(folder / MEASUREMENTS))
    except FormatError as error:
        raise _damaged(folder / MEASUREMENTS, error.what) from error
    return BuildOutput(image=image, manifest=manifest, measurements=measurements)


def write_result(folder: Path, result: dict[str, Any], serial_log: str) -> None:
    """Write ``boot/serial.log`` and ``boot/result.json``, each whole or not at all.

    Raises:
        Lacking: no space, or the folder is not ours to write.
    """
    write_atomic(folder / "boot" / "serial.log", serial_log.encode())
    write_atomic(folder / "boot" / "result.json", (json.dumps(result, indent=2) + "\n").encode())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_DOCUMENT + 1)
    except FileNotFoundError:
        raise _absent(path) from None
    except OSError as error:
        raise InputError(f"cannot read `{path}`: {error.strerror}", code="PVB500") from None


def _absent(path: Path) -> InputError:
    return InputError(
        f"`{path.parent}` has no `{path.name}`",
        code="PVB500",
        hint="give the folder that `podvm-build build` printed, or build the target again",
    )


def _damaged(path: Path, what: str) -> FormatError:
    error = FormatError(what, code="PVB500", hint="build the target again")
    error.place = Place(file=str(path))
    return error
