"""Explanations of registers as text and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from podvm_builder.formats.documents import measurement_to_json
from podvm_builder.measure.explain import Explanation
from podvm_builder.report.text import printable


def explanations_to_json(explanations: Sequence[Explanation]) -> list[dict[str, Any]]:
    """Return each measurement's row, with ``events`` or ``regions`` in order."""
    return [_to_json(one) for one in explanations]


def render_explanations(explanations: Sequence[Explanation]) -> str:
    """Lay out each measurement with its events or regions.

    Example::

        tpm.pcr04  sha256  boot disk, secure_boot absent
          0  EV_EFI_ACTION  call of the boot option (firmware)
             digest 3d67…
             value  0f2d…
    """
    lines: list[str] = []
    for one in explanations:
        row = one.measurement
        variant = ", ".join(f"{key} {value}" for key, value in row.variant.items())
        lines.append("  ".join(part for part in (row.register, row.alg, variant) if part))
        for step in one.steps:
            event = step.event
            lines.append(f"  {step.index:3}  {event.kind}  {event.subject} ({event.source})")
            lines.append(f"       digest {step.digest.hex()}")
            lines.append(f"       value  {step.value.hex()}")
        for number, region in enumerate(one.regions):
            lines.append(f"  {number:3}  {region.source}  {region.page_type}, {region.length} bytes at {region.gpa:#x}")
            if region.digest is not None:
                lines.append(f"       digest {region.digest.hex()}")
        if not one.steps and not one.regions:
            lines.append("       no event is known to extend it")
        value = row.value.hex() if row.value is not None else f"{row.status} ({row.reason})"
        lines += [f"  ={'':4}{value}", *(f"     from {basis.kind} {basis.digest}" for basis in row.basis), ""]
    return "\n".join(map(printable, lines)).rstrip("\n")


def _to_json(one: Explanation) -> dict[str, Any]:
    found = measurement_to_json(one.measurement)
    if one.regions:
        found["regions"] = [
            {
                "source": region.source,
                "gpa": f"{region.gpa:#x}",
                "length": region.length,
                "page_type": region.page_type,
                "digest": None if region.digest is None else region.digest.hex(),
            }
            for region in one.regions
        ]
        return found
    found["events"] = [
        {
            "index": step.index,
            "pcr": step.event.pcr,
            "kind": step.event.kind,
            "subject": step.event.subject,
            "source": step.event.source,
            "digest": step.digest.hex(),
            "value": step.value.hex(),
            **({"data": step.event.data.hex()} if step.event.data else {}),
        }
        for step in one.steps
    ]
    return found
