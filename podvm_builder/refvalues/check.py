"""What a policy will say of a machine of an image, before there is one."""

from __future__ import annotations

from dataclasses import dataclass

from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.model.refvalue import Omission, ReferenceValues
from podvm_builder.refvalues.admission import refusals
from podvm_builder.refvalues.appraise import appraise, holds, status
from podvm_builder.refvalues.claims import Claims, Registers, expected_claims
from podvm_builder.refvalues.facts import source
from podvm_builder.refvalues.records import flat_map
from podvm_builder.refvalues.registry import ExportRequest, FlatMap
from podvm_builder.refvalues.rules import PARTS, Check, Policy
from podvm_builder.refvalues.values import accepted_rows, collect


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A comparison that keeps a part of the trust vector from a better value."""

    part: str
    name: str
    """The reference value; for a literal of the policy, the claim."""
    reason: str
    fact: str = ""
    """The fact that would give the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What to expect of one policy."""

    trustee: str
    policy: str
    values: ReferenceValues
    claims: Claims
    """Of the machine that the vector is for, below the evidence's key."""
    vector: dict[str, int]
    """AR4SI values by part."""
    missing: tuple[Missing, ...]
    other_boots: tuple[Omission, ...]
    """Values of this image that are not registered: machines with them get less."""
    refused_without: tuple[str, ...]
    """Words that an export asks for by name, as in ``--allow-selftest``."""

    @property
    def status(self) -> str:
        """Return the token's status: the worst tier of the vector."""
        return status(self.vector)

    @property
    def any_image_passes(self) -> bool:
        """Say whether nothing that is compared tells this image from another."""
        return not self.values.identified_by

    @property
    def good(self) -> bool:
        """Say whether the policy tells the image from others and finds nothing against the machine."""
        return not self.any_image_passes and self.status != "contraindicated"


def expect(request: ExportRequest) -> Expectation:
    """Return what the policy of a request says of a machine of the image, with the request's values registered.

    Raises:
        InputError: the version or policy (PVB603) or the evidence type (PVB604) is not supported.
        Finding: PVB609, PVB610, as :func:`.values.reference_values`.
    """
    rules = request.rules()
    allow_unbound = "unbound-image" in request.allow
    values = collect(
        request.measurements,
        trustee=request.trustee,
        policy=request.policy,
        evidence=request.evidence,
        facts=request.facts,
        allow_unbound=allow_unbound,
    ).values
    facts = {**request.measurements.facts, **request.facts}
    registers = _registers(rules, request.measurements, allow_unbound=allow_unbound)
    claims = expected_claims(values.evidence, request.version, registers, facts)
    flat = flat_map(values)
    return Expectation(
        trustee=request.trustee,
        policy=request.policy,
        values=values,
        claims=claims,
        vector=appraise(rules, claims, flat),
        missing=_missing(rules, claims, flat, values),
        other_boots=_others(rules, request.measurements, allow_unbound=allow_unbound),
        refused_without=tuple(word for word in refusals(request.measurements.flags) if word not in request.allow),
    )


def _registers(rules: Policy, measurements: MeasurementSet, *, allow_unbound: bool) -> Registers:
    """Return the registers of one machine: of each, the first value that is accepted."""
    found = {}
    for check in rules.named:
        rows = accepted_rows(check, measurements, allow_unbound=allow_unbound) if check.register else []
        if rows and rows[0].value is not None:
            found[check.register, check.alg] = rows[0].value
    return found


def _missing(rules: Policy, claims: Claims, flat: FlatMap, values: ReferenceValues) -> tuple[Missing, ...]:
    """Say what keeps each part from its best rule."""
    reasons: dict[str, str] = {}
    for omission in values.omitted:
        reasons.setdefault(omission.name, omission.reason)
    return tuple(
        Missing(part=part, name=check.name or check.claim, reason=_why(check, flat, reasons), fact=_fact(check, flat))
        for part in PARTS
        for check in (rules.part(part)[0].checks if rules.part(part) else ())
        if not holds(check, claims, flat)
    )


def _why(check: Check, flat: FlatMap, reasons: dict[str, str]) -> str:
    if not check.name:
        return (
            f"the policy wants `{check.literal}`, and the verifier does not say that in this version or of this machine"
        )
    if check.name in flat:
        return f"the verifier does not send the claim `{check.claim}` as the policy compares it"
    if check.name in reasons:
        return reasons[check.name]
    return "no image decides it: say the fact, or register it"


def _fact(check: Check, flat: FlatMap) -> str:
    return source(check.fact) if check.fact and check.name not in flat else ""


def _others(rules: Policy, measurements: MeasurementSet, *, allow_unbound: bool) -> tuple[Omission, ...]:
    """Name the values of compared registers that are not registered."""
    found: dict[Omission, None] = {}
    for check in rules.named:
        if not check.register:
            continue
        accepted = {row.value for row in accepted_rows(check, measurements, allow_unbound=allow_unbound)}
        for row in measurements.measurements:
            if row.register == check.register and check.alg in {row.alg, ""} and row.value not in {None, *accepted}:
                boot = row.variant.get("boot")
                where = f"boot `{boot}`" if boot else "another variant"
                found[Omission(name=check.name, reason=f"`{check.register}` of {where} is not registered")] = None
    return tuple(found)
