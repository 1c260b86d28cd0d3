"""Units: what is enabled, whether what is started can start, and in an order that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from podvm_builder.guest.unit_check import Fault, unit_faults
from podvm_builder.lint.known import Known
from podvm_builder.lint.preset import presets
from podvm_builder.lint.rule import Hit, rule
from podvm_builder.lint.subject import Files, Need, Subject

_ENABLING = re.compile(r"etc/systemd/system/[^/]+\.(?:wants|requires|upholds)")
"""Folders in which a unit that is enabled has a link."""


def _faults(subject: Subject, *kinds: Fault) -> Iterator[Hit]:
    for fault in unit_faults(subject.root.units, subject.cmdline or ""):
        if fault.kind in kinds:
            yield fault.place, fault.message


@rule(
    "PVB811",
    "unit-link",
    Need.ROOT,
    mend="add the unit's package or file, or take away what names it",
)
def unit_link(subject: Subject, _: Known) -> Iterator[Hit]:
    """Find units that others name and that are not there or masked."""
    yield from _faults(subject, Fault.LINK, Fault.UNIT)


@rule("PVB813", "unit-cycle", Need.ROOT, mend="take one of the orders away: systemd would leave a unit out")
def unit_cycle(subject: Subject, _: Known) -> Iterator[Hit]:
    """Find units that wait for one another."""
    yield from _faults(subject, Fault.CYCLE)


@rule(
    "PVB814",
    "unit-program",
    Need.ROOT,
    mend="add the package or component that the program is of, or mend its path or mode",
)
def unit_program(subject: Subject, _: Known) -> Iterator[Hit]:
    """Find programs of units that are not there, or cannot be executed."""
    yield from _faults(subject, Fault.PROGRAM)


@rule(
    "PVB812",
    "unit-enabled",
    Need.ROOT,
    mend="disable or mask the unit (`units` of the profile), or let the profile enable it if it is wanted",
)
def unit_enabled(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find units that are enabled without the preset, and those that no PodVM has a use for."""
    files = subject.root
    wanted = _wanted(files)
    for path in files.entries:
        folder, _, name = path.rpartition("/")
        if _ENABLING.fullmatch(folder) and not _is_wanted(name, wanted):
            yield f"/{path}", f"`{name}` is enabled, and no preset enables it"
    for name in sorted(files.reached):
        for pattern, reason in known.facts.unwanted_units.items():
            if fnmatchcase(name, pattern):
                yield f"/{files.reached[name].path}", f"`{name}` is started: {reason}"


@rule(
    "PVB818",
    "preset",
    Need.FILES,
    mend="end the first preset with `disable *`: without it, units are enabled by being installed",
)
def preset(subject: Subject, _: Known) -> Iterator[Hit]:
    """Find a root whose presets leave units that they do not name enabled, as systemd's default is."""
    lines = presets(subject.root)
    if not any(action == "disable" and pattern == "*" for action, pattern in lines):
        yield "/usr/lib/systemd/system-preset", "no preset says `disable *`"


def _wanted(files: Files) -> set[str]:
    """Return what presets enable, and what that says is to be enabled `Also=` with it."""
    lines = presets(files)
    wanted = {pattern for action, pattern in lines if action == "enable"}
    todo = sorted(wanted)
    while todo:
        unit = files.units.get(todo.pop())
        if unit is None:
            continue
        for name in (unit.name, *unit.file.lists("Install", "Also", "Alias")):
            if name not in wanted:
                wanted.add(name)
                todo.append(name)
    return wanted


def _is_wanted(name: str, wanted: set[str]) -> bool:
    prefix, at, rest = name.partition("@")
    template = f"{prefix}@.{rest.rpartition('.')[2]}" if at else name
    return any(fnmatchcase(name, pattern) or fnmatchcase(template, pattern) for pattern in wanted)
