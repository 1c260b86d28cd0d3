"""What is to be known of exported reference values, in lines of text."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.model.refvalue import ReferenceValues
from podvm_builder.refvalues.registers import covers_image
from podvm_builder.report.text import printable


def identification(values: ReferenceValues) -> str:
    """Say whether values identify the image, and by what."""
    if not values.identified_by:
        return "no"
    by = ", ".join(values.identified_by)
    if not values.not_compared:
        return f"yes (by {by})"
    return f"in part (by {by}; the policy does not compare {', '.join(values.not_compared)})"


def summary(values: ReferenceValues) -> list[str]:
    """Return what a user must know of exported values, a line each."""
    lines = [
        f"{one.name}: {len(one.value) if isinstance(one.value, tuple) else 1} value(s) from {one.register}"
        for one in values.values
    ]
    lines += [f"not exported: {omission.name}: {omission.reason}" for omission in values.omitted]
    if values.platform:
        facts = f" (`trust` of the profile, or --fact: {', '.join(values.wanted_facts)})" if values.wanted_facts else ""
        lines.append(
            f"read by the policy as well, for the platform's owner to register: {', '.join(values.platform)}{facts}"
        )
    lines.append(f"identifies the image: {identification(values)}")
    lines += [f"caution: {caution}" for caution in values.cautions]
    return lines


def register_summary(values: Mapping[str, Any], measurements: MeasurementSet, allowed: Collection[str]) -> list[str]:
    """Return what a user must know of exported registers, a line each.

    Args:
        values: what the form's reader makes of the document.
        measurements: that they were taken from.
        allowed: words of :data:`podvm_builder.refvalues.admission.ALLOWANCES`.
    """
    lines = [f"{name}: {len(value)} value(s)" for name, value in values.items()]
    identification = measurements.identifies_image
    wanted = identification.by if identification.value else ()
    registers = {name.partition(":")[0] for name in values}
    untied = {
        row.register
        for row in measurements.measurements
        if "unbound-image" in allowed and row.value is not None and not covers_image(row)
    }
    by = [name for name in wanted if name in registers and name not in untied]
    missing = [name for name in wanted if name not in by]
    if not by:
        why = f"{', '.join(missing)} would, and is not in it alone" if missing else identification.reason
        lines.append(f"identifies the image: no ({why}): any image passes")
    elif missing:
        lines.append(f"identifies the image: in part (by {', '.join(by)}; not in it: {', '.join(missing)})")
    else:
        lines.append(f"identifies the image: yes (by {', '.join(by)})")
    return lines


def notice(values: ReferenceValues, allowed: Collection[str]) -> str:
    """Return the text that stands beside the exported files of a build.

    Args:
        values: as the default policy reads them.
        allowed: words of :data:`podvm_builder.refvalues.admission.ALLOWANCES` that the build let pass.
    """
    lines = [f"Reference values of {values.target}, evidence {values.evidence}, for Trustee."]
    lines += [
        f"WRITTEN WITH --allow-{word}: for trying things out only, `refvalues export` asks for it by name."
        for word in sorted(allowed)
    ]
    return "".join(f"{printable(line)}\n" for line in (*lines, *summary(values)))
