"""Registers that the guest itself extends: those that the profile asked for, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from podvm_builder.guest.unit_programs import unit_programs
from podvm_builder.lint.known import Known
from podvm_builder.lint.rule import Hit, rule
from podvm_builder.lint.subject import Need, Subject


@rule(
    "PVB848",
    "pcr-unasked",
    Need.ROOT,
    Need.PHASES,
    mend="mask the unit (`units` of the profile), or ask for boot phases with `measure: {phases: true}`",
)
def pcr_unasked(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find units that extend PCRs without being asked: no prediction would hold."""
    facts, files = known.facts, subject.root
    asked = known.catalogue.phase_units if subject.about.phases else ()
    extending = {
        unit.name: path
        for unit, path in unit_programs(files.units, files.reached.values())
        if path.rpartition("/")[2] in facts.pcr_programs
    }
    for name, unit in files.reached.items():
        extends = name in extending or any(fnmatchcase(name, pattern) for pattern in facts.pcr_units)
        if extends and name not in asked and unit.template not in asked:
            yield f"/{unit.path}", f"`{name}` is started and extends a PCR, which the profile does not ask for"


@rule(
    "PVB849",
    "phases-not-measured",
    Need.ROOT,
    Need.PHASES,
    mend="take the unit's mask away: with `measure: {phases: true}`, PCR 11 is predicted with the phases",
)
def phases_not_measured(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find boot phases that are asked for and that nothing measures."""
    if not subject.about.phases:
        return
    for name in known.facts.phases_of_root:
        if name not in subject.root.reached:
            yield f"/usr/lib/systemd/system/{name}", f"`{name}` is not started, though boot phases are asked for"
