"""What :func:`podvm_builder.refvalues.check.expect` found, as text and as JSON."""

from __future__ import annotations

from typing import Any

from podvm_builder.refvalues.appraise import MEANINGS, tier
from podvm_builder.refvalues.check import Expectation
from podvm_builder.refvalues.rules import PARTS
from podvm_builder.report.refvalues import identification


def expectation_lines(found: Expectation) -> list[str]:
    """Return the expectation in lines of text."""
    values = found.values
    whose = f"`{values.target}`" if values.target else "these measurements"
    lines = [
        f"{whose}, evidence {values.evidence}, under the {found.policy} policy of Trustee {found.trustee}:",
        f"status: {found.status}",
    ]
    for part in PARTS:
        value = found.vector[part]
        lines.append(f"  {part:<14}{value:>3}  {tier(value)}: {MEANINGS[part, value]}")
        for one in found.missing:
            if one.part == part:
                mend = f" (--fact {one.fact}=…)" if one.fact else ""
                lines.append(f"    missing: {one.name}: {one.reason}{mend}")
    lines.append(f"identifies the image: {identification(values)}")
    if found.any_image_passes:
        lines.append("any image passes")
    lines += [f"not registered: {one.name}: {one.reason}" for one in found.other_boots]
    lines += [f"not caught: {text}" for text in values.cautions]
    lines += [f"`refvalues export` asks for --allow-{word}" for word in found.refused_without]
    return lines


def expectation_json(found: Expectation) -> dict[str, Any]:
    """Return the expectation as JSON values."""
    values = found.values
    return {
        "target": values.target or None,
        "evidence": values.evidence,
        "trustee": found.trustee,
        "policy": found.policy,
        "good": found.good,
        "status": found.status,
        "trust_vector": found.vector,
        "missing": [
            {"part": one.part, "name": one.name, "reason": one.reason, "fact": one.fact or None}
            for one in found.missing
        ],
        "any_image_passes": found.any_image_passes,
        "identified_by": list(values.identified_by),
        "not_compared": list(values.not_compared),
        "registered": [one.name for one in values.values],
        "not_registered": [{"name": one.name, "reason": one.reason} for one in found.other_boots],
        "not_caught": list(values.cautions),
        "refused_without": [f"--allow-{word}" for word in found.refused_without],
        "claims": {values.evidence: found.claims},
    }
