"""The shape of an attestation policy: rules that give a part of the trust vector its value, and their comparisons.

A policy is data. The same rules are interpreted over claims (:mod:`.appraise`), say which reference values are worth
exporting (:mod:`.values`) and are written out as Rego (:mod:`.rego`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from podvm_builder.model.refvalue import Scalar
from podvm_builder.refvalues.versions import FIRST, LAST, Version, show

PARTS = ("executables", "hardware", "configuration")
"""The parts of the trust vector that a policy decides here; all others are 0, "no assertion"."""
UNRECOGNISED = {"executables": 33, "hardware": 97, "configuration": 36}
"""What a part is worth when no rule holds (AR4SI): executables that are not recognised, hardware that is not,
configuration that is not known."""


class Op(StrEnum):
    """How a claim is compared."""

    IN = "in"
    """The claim is an element: the value must be an array; a bare scalar never matches."""
    EQUAL = "=="
    """The claim equals the value, a scalar of the same JSON type; an array never matches."""
    AT_LEAST = ">="
    """The claim is a number not below the value, a number."""
    IS = "is"
    """The claim equals a literal of the policy; no reference value is asked for."""


class Encoding(StrEnum):
    """How the verifier writes a claim, and so how its reference value must be written."""

    HEX = "hex"
    """Lower case."""
    BASE64 = "base64"
    """Standard alphabet, padded."""
    NUMBER = "integer"
    DECIMAL = "decimal text"
    """A number as text: ``"4"``."""
    BOOLEAN = "boolean"
    BOOLEAN_TEXT = "text of a boolean"
    """``"true"`` or ``"false"``."""
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One comparison of a claim."""

    claim: str
    """Where the claim stands below the evidence's object: keys joined by dots, a number for an array's index."""
    op: Op = Op.IN
    name: str = ""
    """The reference value that is asked for; empty for a literal."""
    encoding: Encoding = Encoding.HEX
    register: str = ""
    """The register that the value is taken from; empty where no image decides it."""
    alg: str = ""
    """Bank or algorithm of the register that the claim carries; empty for any."""
    fact: str = ""
    """A derived fact (:data:`podvm_builder.refvalues.facts.DERIVED`), for what no register says."""
    literal: Scalar = ""
    since: Version = FIRST
    until: Version = LAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A value for one part of the trust vector, given when every check holds."""

    part: str
    """One of :data:`PARTS`."""
    value: int
    checks: tuple[Check, ...]
    since: Version = FIRST
    until: Version = LAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one policy reads of one kind of evidence. Of several rules of a part, the first that holds counts."""

    evidence: str
    rules: tuple[Rule, ...]
    cautions: tuple[str, ...] = ()
    """What it does not catch, however well its values are filled in."""
    since: Version = FIRST
    """From when on its names are confirmed and read."""
    before: str = ""
    """Why it is not offered before :attr:`since`."""

    def of(self, version: Version) -> Policy:
        """Return the policy as one version has it: what it does not have is left out."""
        rules = tuple(
            Rule(
                part=rule.part,
                value=rule.value,
                checks=tuple(check for check in rule.checks if check.since <= version <= check.until),
            )
            for rule in self.rules
            if rule.since <= version <= rule.until
        )
        return Policy(evidence=self.evidence, rules=rules, cautions=self.cautions)

    def part(self, part: str) -> tuple[Rule, ...]:
        """Return the rules of one part, in order."""
        return tuple(rule for rule in self.rules if rule.part == part)

    @property
    def named(self) -> tuple[Check, ...]:
        """Return the checks that ask for a reference value, each name once, in order."""
        found: dict[str, Check] = {}
        for rule in self.rules:
            for check in rule.checks:
                if check.name:
                    found.setdefault(check.name, check)
        return tuple(found.values())


def span(since: Version, until: Version) -> str:
    """Return a span of versions as text: ``0.12 to 0.18``, ``from 0.19 on``, or nothing for all of them."""
    if until < LAST:
        return f"{show(since)} to {show(until)}"
    return "" if since == FIRST else f"from {show(since)} on"
