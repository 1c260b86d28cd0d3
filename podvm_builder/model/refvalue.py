"""What a verifier is told to accept: named values in the JSON types that its policy compares."""

from __future__ import annotations

from dataclasses import dataclass

Scalar = str | int | bool
JsonValue = Scalar | tuple[Scalar, ...]
"""A scalar where the policy tests equality, a tuple (a JSON array) where it tests membership."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceValue:
    """One name with what it may be."""

    name: str
    """As the verifier's policy asks for it, e.g. ``snp_launch_measurement``."""
    value: JsonValue
    register: str
    """The register that it was taken from, e.g. ``snp.launch_digest``; for what a platform decides, ``fact`` and the
    name of the fact, e.g. ``fact snp_microcode``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Omission:
    """A measured value that the policy reads and that is not exported."""

    name: str
    """As the verifier's policy asks for it."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceValues:
    """All that can be registered for one target, and what must be known before it is."""

    target: str
    evidence: str
    """The verifier's evidence type: ``snp``, ``tdx``, ``az-snp-vtpm`` …"""
    values: tuple[ReferenceValue, ...]
    omitted: tuple[Omission, ...]
    platform: tuple[str, ...]
    """Names that the policy reads as well, whose values the machine decides and which were not said."""
    wanted_facts: tuple[str, ...]
    """The facts (:data:`podvm_builder.model.fact.FACTS`) that would give those."""
    identified_by: tuple[str, ...]
    """Exported registers whose values are this image's; empty where any image passes."""
    not_compared: tuple[str, ...]
    """Registers that would have to be compared as well to identify the image, and that the policy does not read."""
    cautions: tuple[str, ...]
    """What a policy with these values does not catch, one sentence each."""
