"""What a build made, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from podvm_builder.model.manifest import ComponentRecord, ImageManifest
from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.report.measurements import render_measurements
from podvm_builder.report.text import printable_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFacts:
    """What is told of a build that is there whole."""

    manifest: ImageManifest
    measurements: MeasurementSet
    folder: str
    reference_values: tuple[str, ...]
    """Paths of the files for verifiers."""
    no_reference_values: str
    """Why there are none; empty where there are."""
    seconds: Mapping[str, float]
    """How long each step took."""
    verified: bool
    """Whether a second build gave the same bytes."""


def render_build(build: BuildFacts) -> str:
    """Lay out what was built, its registers, whether they identify the image, and where its reference values are."""
    manifest = build.manifest
    lines = [f"{manifest.target}: {build.folder}"]
    lines += [
        f"  {name}  {record.size / 1e6:.1f} MB  sha256:{record.sha256}" for name, record in manifest.files.items()
    ]
    lines.append(f"  root hash  {manifest.root_hash}")
    if manifest.flags:
        lines.append(f"  flags  {', '.join(manifest.flags)}")
    lines += [f"  components  {line}" for line in _origins(manifest.components)]
    if build.verified:
        lines.append("  reproducible: a second build gave the same bytes")
    lines += ["", render_measurements(build.measurements), ""]
    if build.reference_values:
        lines.append("reference values:")
        lines += [f"  {path}" for path in build.reference_values]
    else:
        lines.append(f"reference values: none ({build.no_reference_values})")
    return printable_lines("\n".join(lines))


def _origins(components: Sequence[ComponentRecord]) -> list[str]:
    """Return what is known of where the components came from, each kind in a line."""
    found: dict[str, list[str]] = {}
    for component in components:
        found.setdefault(component.verification, []).append(component.name)
    return [f"{kind}: {', '.join(dict.fromkeys(names))}" for kind, names in sorted(found.items())]


def build_to_json(build: BuildFacts) -> dict[str, Any]:
    """Return what was built as JSON values; ``manifest.json`` and ``measurements.json`` in the folder have the rest."""
    identifies = build.measurements.identifies_image
    return {
        "target": build.manifest.target,
        "folder": build.folder,
        "ids": asdict(build.manifest.ids),
        "flags": list(build.manifest.flags),
        "root_hash": build.manifest.root_hash,
        "files": {name: asdict(record) for name, record in build.manifest.files.items()},
        "components": [asdict(component) for component in build.manifest.components],
        "identifies_image": {"value": identifies.value, "by": list(identifies.by), "reason": identifies.reason},
        "reference_values": list(build.reference_values),
        "no_reference_values": build.no_reference_values or None,
        "reproducible": True if build.verified else None,
        "seconds": {step: round(taken, 1) for step, taken in build.seconds.items()},
    }
