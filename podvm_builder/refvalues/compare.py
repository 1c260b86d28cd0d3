"""Two images as a verifier sees them: which reference values change, why, and which registers it ignores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from podvm_builder.measure.diff import RegisterChange, diff_measurements
from podvm_builder.refvalues.merge import ABSENT, Change
from podvm_builder.refvalues.records import flat_map
from podvm_builder.refvalues.registry import ExportRequest
from podvm_builder.refvalues.values import collect

_SECTION = "section "
_KERNEL_HASHES = "kernel hashes"
"""A region of a launch digest that covers kernel, initrd and command line: what moved of those, the events say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueChange:
    """One reference value that is not the same."""

    change: Change
    register: str
    """What it is taken from, a register or ``fact`` and its name."""
    causes: tuple[str, ...]
    """What moved the register, in the words of :mod:`podvm_builder.measure.diff`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs between two images."""

    values: tuple[ValueChange, ...]
    same: tuple[str, ...]
    """Names whose values are the same."""
    ignored: tuple[RegisterChange, ...]
    """Registers that differ and that no value is taken from."""

    @property
    def equal(self) -> bool:
        """Whether a verifier sees no difference."""
        return not self.values


def compare(left: ExportRequest, right: ExportRequest) -> Comparison:
    """Compare two images by the values that a policy asks for.

    Values that would not be exported are compared as well where they would be with ``--allow-unbound-image``, because
    the question is what changed and not what is wise.

    Raises:
        InputError: the version, the policy or the evidence is not known (PVB603, PVB604).
        Finding: several values stand where a policy compares with one (PVB609), or a guest is open (PVB610).
    """
    ours, whence = _values(left)
    theirs, whence_theirs = _values(right)
    sources = {**whence_theirs, **whence}
    moved = diff_measurements(left.measurements, right.measurements)
    causes: dict[str, dict[str, None]] = {}
    for one in moved:
        causes.setdefault(one.register, {}).update(dict.fromkeys(one.causes))
    sections = dict.fromkeys(cause for one in moved for cause in one.causes if cause.startswith(_SECTION))
    for found in causes.values():
        if any(_KERNEL_HASHES in cause for cause in found):
            found.update(sections)
    names = dict.fromkeys((*ours, *theirs))
    changes = [Change(name=name, before=ours.get(name, ABSENT), after=theirs.get(name, ABSENT)) for name in names]
    return Comparison(
        values=tuple(
            ValueChange(
                change=change,
                register=sources[change.name],
                causes=tuple(causes.get(sources[change.name], ())),
            )
            for change in changes
            if change.is_change
        ),
        same=tuple(change.name for change in changes if not change.is_change),
        ignored=_ignored(moved, sources.values()),
    )


def _values(request: ExportRequest) -> tuple[dict[str, object], Mapping[str, str]]:
    """Return the values by name, and the register of each."""
    found = collect(
        request.measurements,
        trustee=request.trustee,
        policy=request.policy,
        evidence=request.evidence,
        facts=request.facts,
        allow_unbound="unbound-image" in request.allow,
    ).values
    return flat_map(found), {one.name: one.register for one in found.values}


def _ignored(moved: Iterable[RegisterChange], registers: Iterable[str]) -> tuple[RegisterChange, ...]:
    """Return one change for each register that no value is taken from."""
    known = set(registers)
    found: dict[str, RegisterChange] = {}
    for one in moved:
        if one.register not in known:
            found.setdefault(one.register, one)
    return tuple(found.values())
