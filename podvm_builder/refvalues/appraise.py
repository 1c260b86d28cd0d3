"""Rules over claims: what a policy makes of one machine's evidence, strict about JSON types as Rego is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podvm_builder.refvalues.claims import Claims
from podvm_builder.refvalues.registry import FlatMap
from podvm_builder.refvalues.rules import PARTS, UNRECOGNISED, Check, Op, Policy

VECTOR = (
    "instance-identity",
    "configuration",
    "executables",
    "file-system",
    "hardware",
    "runtime-opaque",
    "storage-opaque",
    "sourced-data",
)
"""The trust vector's parts in the order of AR4SI."""
MEANINGS = {
    ("executables", 3): "approved, as far as the boot goes",
    ("executables", 4): "approved, as far as the boot goes",
    ("executables", 33): "not recognised",
    ("hardware", 2): "genuine",
    ("hardware", 97): "not recognised",
    ("configuration", 0): "no assertion",
    ("configuration", 2): "known and approved",
    ("configuration", 3): "nothing known against it",
    ("configuration", 36): "not known",
}
"""What the values mean that policies give to parts here (draft-ietf-rats-ar4si, trustworthiness claims)."""

_ABSENT = object()


def appraise(policy: Policy, claims: Claims, values: FlatMap) -> dict[str, int]:
    """Return the trust vector of a machine.

    Args:
        policy: its rules, already those of one version.
        claims: of the machine, as the verifier gives them.
        values: what is registered, by name.
    """
    vector = dict.fromkeys(VECTOR, 0)
    for part in PARTS:
        held = (rule.value for rule in policy.part(part) if all(holds(check, claims, values) for check in rule.checks))
        vector[part] = next(held, UNRECOGNISED[part])
    return vector


def holds(check: Check, claims: Claims, values: FlatMap) -> bool:
    """Say whether one comparison holds; a claim or value that is not there makes it fail."""
    found = claim(claims, check.claim)
    if found is _ABSENT:
        return False
    if check.op is Op.IS:
        return _same(found, check.literal)
    value = values.get(check.name)
    match check.op:
        case Op.IN:
            return isinstance(value, list) and any(_same(found, one) for one in value)
        case Op.AT_LEAST:
            return _is_number(found) and _is_number(value) and found >= value
        case _:
            return _same(found, value)


def claim(claims: Claims, path: str) -> Any:
    """Return the claim at a path of keys and indices joined by dots; a value that equals no other if there is none."""
    at: Any = claims
    for key in path.split("."):
        if isinstance(at, Mapping) and key in at:
            at = at[key]
        elif isinstance(at, list) and key.isdecimal() and int(key) < len(at):
            at = at[int(key)]
        else:
            return _ABSENT
    return at


def tier(value: int) -> str:
    """Return the tier of one value of the trust vector: none, affirming, warning or contraindicated (AR4SI)."""
    if value <= 1:
        return "none"
    return "affirming" if value < 32 else "warning" if value < 96 else "contraindicated"


def status(vector: Mapping[str, int]) -> str:
    """Return the status of a token: the worst tier of its vector."""
    return max(map(tier, vector.values()), key=("none", "affirming", "warning", "contraindicated").index)


def _same(one: Any, other: Any) -> bool:
    """Say whether two JSON values are equal: unlike in Python, true is not 1."""
    return type(one) is type(other) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
