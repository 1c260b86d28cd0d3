"""Measurements to reference values: which registers may be promised, under which name, in which type."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from podvm_builder.errors import Finding, InputError
from podvm_builder.model.fact import Facts
from podvm_builder.model.measurement import Measurement, MeasurementSet
from podvm_builder.model.refvalue import JsonValue, Omission, ReferenceValue, ReferenceValues, Scalar
from podvm_builder.refvalues.encoding import encode, encode_digest
from podvm_builder.refvalues.facts import POLICY_DEBUG, POLICY_MIGRATE_MA, fact_values, source
from podvm_builder.refvalues.policies import policy_for
from podvm_builder.refvalues.rules import Check, Op, Policy
from podvm_builder.refvalues.versions import NEWEST

_FLAGS = {
    "selftest": "the image holds the selftest programs instead of the guest agents: never let it have a secret",
    "debug": "this is a debug image: whoever reaches its console owns it",
    "unverified-components": "the provenance of the image's components was not verified",
}


class Collected(NamedTuple):
    """What can be registered, and whether any of it says something of what runs."""

    values: ReferenceValues
    measured: bool
    """Whether a register that the policy compares has a value at all."""


def reference_values(
    measurements: MeasurementSet,
    *,
    trustee: str = NEWEST,
    policy: str = "default",
    evidence: str | None = None,
    facts: Facts | None = None,
    allow_unbound: bool = False,
) -> ReferenceValues:
    """Return what Trustee must be told so that an attestation policy recognises these measurements.

    Only values that the measurements justify (``predicted``, or ``platform`` with a value) are exported, of the boot
    paths that the profile lists. Of a register that identifies the image, values computed without the image are left
    out: they are those of the firmware alone, so a verifier that has them accepts any image.

    Args:
        measurements: of one target.
        trustee: Trustee's version, e.g. ``0.21``.
        policy: one of :data:`podvm_builder.refvalues.policies.POLICIES`.
        evidence: the verifier's evidence type, where it is another than the measurements say.
        facts: of the machines, over those that the measurements carry.
        allow_unbound: whether values that any image reaches may be exported.

    Raises:
        InputError: the version or policy (PVB603) or the evidence type (PVB604) is not supported.
        Finding: there is no value to export (PVB601), what can be exported does not identify the image and
            ``allow_unbound`` is not set (PVB602), several values stand where the policy compares with one (PVB609),
            or the guest policy allows debugging or migration (PVB610).
    """
    values, measured = collect(
        measurements, trustee=trustee, policy=policy, evidence=evidence, facts=facts, allow_unbound=allow_unbound
    )
    if not (values.values or values.omitted or values.platform):
        raise InputError(
            f"the {policy} policy compares no reference value of `{values.evidence}`",
            code="PVB604",
            hint="`--policy extended` does" if policy != "extended" and values.evidence in {"se", "cca"} else None,
        )
    whose = f"of `{values.target}` " if values.target else ""
    if not measured:
        raise Finding(
            f"there is no reference value {whose}to export for evidence `{values.evidence}`",
            code="PVB601",
            hint=f"`{values.omitted[0].name}`: {values.omitted[0].reason}" if values.omitted else None,
        )
    if not values.identified_by and not allow_unbound:
        raise Finding(
            f"the reference values {whose}for evidence `{values.evidence}` do not identify the image: any image passes",
            code="PVB602",
            hint=f"{_unbound(measurements)}; `--allow-unbound-image` exports them all the same",
        )
    return values


def collect(
    measurements: MeasurementSet,
    *,
    trustee: str = NEWEST,
    policy: str = "default",
    evidence: str | None = None,
    facts: Facts | None = None,
    allow_unbound: bool = False,
) -> Collected:
    """Do what :func:`reference_values` does, but leave it to the caller to refuse what identifies no image.

    Raises:
        InputError: PVB603, PVB604, as there.
        Finding: PVB609, PVB610, as there.
    """
    kind = measurements.evidence if evidence is None else evidence
    rules = policy_for(kind, trustee=trustee, policy=policy, measurements=measurements, facts=facts)
    known = {**measurements.facts, **(facts or {})}
    _refuse_open_guests(known)
    found = [_value(check, measurements, known, allow_unbound=allow_unbound) for check in rules.named]
    identification = measurements.identifies_image
    by = tuple(dict.fromkeys(check.register for check, one in zip(rules.named, found, strict=True) if one.identifies))
    cautions = [text for flag, text in _FLAGS.items() if flag in measurements.flags]
    if not by:
        cautions.append(f"any image passes: {_unbound(measurements)}")
    wanted = [check for check, one in zip(rules.named, found, strict=True) if one.value is None and not check.register]
    values = ReferenceValues(
        target=measurements.target,
        evidence=kind,
        values=tuple(one.value for one in found if one.value is not None),
        omitted=tuple(omission for one in found for omission in one.omitted),
        platform=tuple(check.name for check in wanted),
        wanted_facts=_wanted(rules, found),
        identified_by=by,
        not_compared=tuple(register for register in identification.by if register not in by),
        cautions=(*cautions, *rules.cautions),
    )
    return Collected(values=values, measured=any(one.measured for one in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    value: ReferenceValue | None
    omitted: tuple[Omission, ...] = ()
    identifies: bool = False
    measured: bool = False


def _value(check: Check, measurements: MeasurementSet, facts: Facts, *, allow_unbound: bool) -> _Found:
    """Return what one comparison may be told, from the register that it compares or else from a fact."""
    said = fact_values(facts, check.fact) if check.fact else ()
    if not check.register:
        if not said:
            return _Found(value=None)
        # nothing measured stands behind the sample attester: its values are all there is
        return _Found(value=_named(check, said, f"fact {source(check.fact)}"), measured=check.fact.startswith("sample"))
    rows = _listed_rows(check, measurements)
    known = [row for row in rows if row.value is not None]
    binds = _binds(check, measurements)
    bound = [row for row in known if _covers_image(row)] if binds else []
    kept = accepted_rows(check, measurements, allow_unbound=allow_unbound)
    omitted = _omissions(check, rows, unbound=[] if allow_unbound or not binds else known)
    if kept:
        digests = tuple(encode_digest(check.encoding, row.value) for row in kept if row.value is not None)
        register = check.register
    elif said and not binds:
        digests = tuple(encode_digest(check.encoding, bytes.fromhex(str(text))) for text in said)
        register, omitted = f"fact {source(check.fact)}", ()
    else:
        return _Found(value=None, omitted=omitted, measured=bool(known))
    return _Found(
        value=_named(check, digests, register, encoded=True),
        omitted=omitted,
        identifies=bool(bound) and len(kept) == len(bound),
        measured=True,
    )


def accepted_rows(check: Check, measurements: MeasurementSet, *, allow_unbound: bool) -> list[Measurement]:
    """Return the rows whose values may be exported for one comparison: with a value, listed, and bound to the image."""
    known = [row for row in _listed_rows(check, measurements) if row.value is not None]
    if allow_unbound or not _binds(check, measurements):
        return known
    return [row for row in known if _covers_image(row)]


def _listed_rows(check: Check, measurements: MeasurementSet) -> list[Measurement]:
    boots = measurements.boots
    return [
        row
        for row in measurements.measurements
        if row.register == check.register
        and check.alg in {row.alg, ""}
        and ("boot" not in row.variant or not boots or row.variant["boot"] in boots)
    ]


def _binds(check: Check, measurements: MeasurementSet) -> bool:
    return measurements.identifies_image.value and check.register in measurements.identifies_image.by


def _named(check: Check, values: tuple[Scalar, ...], register: str, *, encoded: bool = False) -> ReferenceValue:
    """Return values in the JSON types that the comparison takes.

    Raises:
        Finding: there are several and it takes one (PVB609).
    """
    # a dict keeps the order of first appearance: variants that share a value give it once
    given = tuple(dict.fromkeys(values if encoded else (encode(check.encoding, one) for one in values)))
    value: JsonValue = given
    if check.op is not Op.IN:
        if len(given) != 1:
            raise Finding(
                f"`{check.name}` can have one value, and there are {len(given)}: {', '.join(map(str, given))}",
                code="PVB609",
                hint=f"the policy compares it with `{check.op}`; give one value of `{source(check.fact)}`",
            )
        value = given[0]
    return ReferenceValue(name=check.name, value=value, register=register)


def _unbound(measurements: MeasurementSet) -> str:
    """Return why nothing that is compared identifies the image."""
    identification = measurements.identifies_image
    if not identification.value:
        return identification.reason
    return f"what identifies it ({', '.join(identification.by)}) is not compared, or covers the firmware alone"


def _refuse_open_guests(facts: Facts) -> None:
    for value in facts.get("snp_guest_policy", ()):
        if isinstance(value, int) and value & (POLICY_DEBUG | POLICY_MIGRATE_MA):
            raise Finding(
                f"the guest policy `{value:#x}` allows debugging or a migration agent",
                code="PVB610",
                hint="launch guests without bits 18 and 19 of their policy: no attestation policy may affirm them",
            )


def _wanted(rules: Policy, found: list[_Found]) -> tuple[str, ...]:
    missing = [check.fact for check, one in zip(rules.named, found, strict=True) if one.value is None and check.fact]
    return tuple(dict.fromkeys(map(source, missing)))


def _covers_image(row: Measurement) -> bool:
    return any(basis.kind == "image" for basis in row.basis)


def _omissions(check: Check, rows: list[Measurement], *, unbound: list[Measurement]) -> tuple[Omission, ...]:
    """Say why rows are left out: those without a value, and those of ``unbound`` that do not cover the image."""
    if not rows:
        alg = f" ({check.alg})" if check.alg else ""
        return (Omission(name=check.name, reason=f"`{check.register}`{alg} is not in the measurements"),)
    reasons = Counter(f"{row.status.value}: {row.reason}" for row in rows if row.value is None)
    reasons.update(_firmware_alone(row) for row in unbound if not _covers_image(row))
    return tuple(
        Omission(name=check.name, reason=reason if count == 1 else f"{reason} ({count} variants)")
        for reason, count in reasons.items()
    )


def _firmware_alone(row: Measurement) -> str:
    boot = f" for boot `{row.variant['boot']}`" if "boot" in row.variant else ""
    return f"`{row.register}`{boot} covers the firmware alone: any image passes"
