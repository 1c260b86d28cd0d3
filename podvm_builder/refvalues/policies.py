"""Which policy reads the values: Trustee's default, the operator's default, or the extended one written here."""

from __future__ import annotations

from podvm_builder.errors import InputError
from podvm_builder.model.fact import Facts
from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.refvalues.default_policy import DEFAULT
from podvm_builder.refvalues.extended_policy import extended
from podvm_builder.refvalues.operator_policy import OPERATOR
from podvm_builder.refvalues.operator_policy import SINCE as OPERATOR_SINCE
from podvm_builder.refvalues.rules import Policy
from podvm_builder.refvalues.versions import NEWEST, parse_version, show

POLICIES = ("default", "operator", "extended")
"""``default``: Trustee's own; ``operator``: the one that the Trustee operator ships; ``extended``: the one that
``refvalues export --to rego --use-rvps`` writes for these measurements."""
EXTENDED_SINCE = {"se": (0, 20), "cca": (0, 20)}
"""From when on the claims are confirmed that the extended policy reads and the default one does not."""
KINDS = tuple(DEFAULT)
"""Evidence types that a policy is known for."""


def policy_for(
    evidence: str,
    *,
    trustee: str = NEWEST,
    policy: str = "default",
    measurements: MeasurementSet,
    facts: Facts | None = None,
) -> Policy:
    """Return what a policy of one version of Trustee reads of one kind of evidence.

    Args:
        evidence: one of :data:`KINDS`.
        trustee: version as ``0.21``, ``0.21.0`` or ``v0.21.0``.
        policy: one of :data:`POLICIES`.
        measurements: decide which registers the extended policy compares, and hold facts.
        facts: over those of the measurements; TCB statuses among them change the extended policy.

    Raises:
        InputError: the version or the policy is not known, or is not confirmed for this evidence (PVB603); the
            evidence type is not known (PVB604).
    """
    version = parse_version(trustee)
    if evidence not in DEFAULT:
        said = f"there is no reference value for evidence `{evidence}`" if evidence else "the evidence type is not said"
        raise InputError(
            f"{said}; policies are known for {', '.join(f'`{name}`' for name in KINDS)}",
            code="PVB604",
            hint=None if evidence else "`--evidence KIND` says what the machine will send to Trustee",
        )
    if policy not in POLICIES:
        raise InputError(f"`{policy}` is no policy", code="PVB603", hint=f"one of {', '.join(POLICIES)}")
    if policy == "operator" and version < OPERATOR_SINCE:
        raise InputError(
            f"what the policy of the Trustee operator reads is not confirmed for {show(version)}",
            code="PVB603",
            hint=f"`--trustee {show(OPERATOR_SINCE)}`, or `--policy default`",
        )
    found = (OPERATOR if policy == "operator" else DEFAULT)[evidence]
    if version < found.since:
        raise InputError(
            f"there are no reference values of `{evidence}` for Trustee {show(version)}: {found.before}",
            code="PVB603",
            hint=f"`--trustee {show(found.since)}` or newer",
        )
    if policy != "extended":
        return found.of(version)
    if version < EXTENDED_SINCE.get(evidence, version):
        raise InputError(
            f"the claims of `{evidence}` are not confirmed for Trustee {show(version)}",
            code="PVB603",
            hint=f"`--trustee {show(EXTENDED_SINCE[evidence])}` or newer",
        )
    return extended(found.of(version), measurements, {**measurements.facts, **(facts or {})})
