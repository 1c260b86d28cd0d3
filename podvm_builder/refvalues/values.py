"""Measurements to reference values: which registers may be promised, under which name, in which type."""

from __future__ import annotations

import base64
from collections import Counter

from podvm_builder.errors import Finding
from podvm_builder.model.measurement import Measurement, MeasurementSet
from podvm_builder.model.refvalue import Omission, ReferenceValue, ReferenceValues
from podvm_builder.refvalues.trustee import NEWEST, PolicyName, policy_rules

_FLAGS = {
    "selftest": "the image holds the selftest programs instead of the guest agents: never let it have a secret",
    "debug": "this is a debug image: whoever reaches its console owns it",
    "unverified-components": "the provenance of the image's components was not verified",
}


def reference_values(
    measurements: MeasurementSet, *, trustee: str = NEWEST, evidence: str | None = None, allow_unbound: bool = False
) -> ReferenceValues:
    """Return what Trustee must be told so that its default policy recognises these measurements.

    Only values that the measurements justify (``predicted``, or ``platform`` with a value) are exported. Of a
    register that identifies the image, values computed without the image are left out: they are those of the
    firmware alone, so a verifier that has them accepts any image.

    Args:
        measurements: of one target.
        trustee: Trustee's version, e.g. ``0.21``.
        evidence: the verifier's evidence type, where it is another than the measurements say.
        allow_unbound: whether values that any image reaches may be exported.

    Raises:
        InputError: the version (PVB603) or the evidence type (PVB604) is not supported.
        Finding: there is no value to export (PVB601), or what can be exported does not identify the image and
            ``allow_unbound`` is not set (PVB602).
    """
    kind = measurements.evidence if evidence is None else evidence
    rules = policy_rules(kind, trustee)
    identification = measurements.identifies_image
    values: list[ReferenceValue] = []
    omitted: list[Omission] = []
    identified_by: list[str] = []
    any_value = False
    for name in rules.measured:
        rows = [row for row in measurements.measurements if (row.register, row.alg) == (name.register, name.alg)]
        known = [row for row in rows if row.value is not None]
        any_value = any_value or bool(known)
        binds = identification.value and name.register in identification.by
        bound = [row for row in known if _covers_image(row)] if binds else []
        kept = bound if binds and not allow_unbound else known
        if kept:
            values.append(ReferenceValue(name=name.name, value=_array(name, kept), register=name.register))
        if bound and len(kept) == len(bound):
            identified_by.append(name.register)
        omitted += _omissions(name, rows, unbound=[] if allow_unbound or not binds else known)
    whose = f"of `{measurements.target}` " if measurements.target else ""
    if not any_value:
        raise Finding(
            f"there is no reference value {whose}to export for evidence `{kind}`",
            code="PVB601",
            hint=f"`{omitted[0].name}`: {omitted[0].reason}",
        )
    if not identified_by and not allow_unbound:
        raise Finding(
            f"the reference values {whose}for evidence `{kind}` do not identify the image: any image passes",
            code="PVB602",
            hint=f"{identification.reason}; `--allow-unbound-image` exports them all the same",
        )
    cautions = [text for flag, text in _FLAGS.items() if flag in measurements.flags]
    if not identified_by:
        cautions.append(f"any image passes: {identification.reason}")
    if rules.caution is not None:
        cautions.append(rules.caution)
    return ReferenceValues(
        target=measurements.target,
        evidence=kind,
        values=tuple(values),
        omitted=tuple(omitted),
        platform=rules.platform,
        identified_by=tuple(identified_by),
        not_compared=tuple(register for register in identification.by if register not in identified_by),
        cautions=tuple(cautions),
    )


def _covers_image(row: Measurement) -> bool:
    return any(basis.kind == "image" for basis in row.basis)


def _array(name: PolicyName, rows: list[Measurement]) -> tuple[str, ...]:
    # a dict keeps the order of first appearance: variants that share a value give it once
    return tuple(dict.fromkeys(_encode(name.encoding, row.value) for row in rows if row.value is not None))


def _encode(encoding: str, value: bytes) -> str:
    return base64.b64encode(value).decode("ascii") if encoding == "base64" else value.hex()


def _omissions(name: PolicyName, rows: list[Measurement], *, unbound: list[Measurement]) -> list[Omission]:
    """Say why rows are left out: those without a value, and those of ``unbound`` that do not cover the image."""
    if not rows:
        return [Omission(name=name.name, reason=f"`{name.register}` ({name.alg}) is not in the measurements")]
    reasons = Counter(f"{row.status.value}: {row.reason}" for row in rows if row.value is None)
    reasons.update(_firmware_alone(row) for row in unbound if not _covers_image(row))
    return [
        Omission(name=name.name, reason=reason if count == 1 else f"{reason} ({count} variants)")
        for reason, count in reasons.items()
    ]


def _firmware_alone(row: Measurement) -> str:
    boot = f" for boot `{row.variant['boot']}`" if "boot" in row.variant else ""
    return f"`{row.register}`{boot} covers the firmware alone: any image passes"
