"""Whether the units of an image can start its agents, seen from the file tree alone.

The units of the guest start one another by path units, so a program that is missing, or a mask too many, shows in a
boot as nothing but a port that stays silent. What is found here is found before.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from podvm_builder.formats.filetree import Kind, LinkedTree, ReadableTree
from podvm_builder.guest.files import template_files
from podvm_builder.guest.setup import UNITS
from podvm_builder.guest.unit_order import cycle_of, order_of
from podvm_builder.guest.unit_programs import look_up, programs_of
from podvm_builder.guest.unit_tree import FOLDERS, Unit, Units

AGENTS = (
    "process-user-data.service",
    "attestation-agent.service",
    "confidential-data-hub.service",
    "kata-agent.service",
    "agent-protocol-forwarder.service",
)
"""What must start for the forwarder to answer, in this order."""

_TARGET = re.compile(r"(?:^|\s)systemd\.unit=(\S+)")


class Fault(StrEnum):
    """What kind of fault it is."""

    START = "start"
    """There is no unit to begin with."""
    AGENT = "agent"
    """An agent is absent, masked, or started by nothing."""
    LINK = "link"
    """A link by which one unit pulls another in leads to none."""
    UNIT = "unit"
    """A unit that another one requires or starts is absent or masked."""
    PROGRAM = "program"
    """A program is absent or not executable."""
    CYCLE = "cycle"
    """Units wait for one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFault:
    """One thing that keeps units from starting."""

    kind: Fault
    place: str
    """Path in the image, with the leading slash, of the unit or link at fault."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFindings:
    """What was found, in words."""

    faults: tuple[str, ...] = ()
    """What keeps the units from starting the agents."""
    remarks: tuple[str, ...] = ()
    """What is amiss with other units; a boot may come up with it."""


def check_units(tree: ReadableTree, *, masks: frozenset[str] = frozenset(), cmdline: str = "") -> UnitFindings:
    """Look whether an image's units can start its agents.

    Args:
        tree: the root file system.
        masks: units that the kernel command line masks.
        cmdline: the kernel command line, which may name the unit that systemd starts.

    Raises:
        FormatError: the tree is damaged.
        Unsupported: it holds something that cannot be read here.
    """
    units = Units(LinkedTree(tree), masks)
    start = _start(units, cmdline)
    if start is None:
        return UnitFindings(faults=(_nothing_to_start(cmdline).message,))
    reached = _reach(units, start)
    chain = _chain(reached)
    needed = _required(units, chain)
    others = [unit for unit in reached.values() if unit not in needed]
    faults = (
        *_absent(units, reached),
        *_activations(units, chain),
        *_requirements(units, needed),
        *_programs(units, [unit for unit in needed if unit in chain or not _conditional(unit)]),
        *_cycles(reached, chain),
    )
    remarks = (
        *_dangling(units),
        *_activations(units, [unit for unit in others if unit.type == ".path"]),
        *_programs(units, [unit for unit in others if not _conditional(unit)]),
    )
    return UnitFindings(
        faults=tuple(dict.fromkeys(fault.message for fault in faults)),
        remarks=tuple(dict.fromkeys(fault.message for fault in remarks)),
    )


def unit_faults(units: Units, cmdline: str = "") -> tuple[UnitFault, ...]:
    """Return all that is amiss with the units that are started, whatever hangs on them.

    Args:
        units: all that there are.
        cmdline: the kernel command line, which may name the unit that systemd starts.

    Raises:
        FormatError, Unsupported: as :func:`check_units`.
    """
    start = _start(units, cmdline)
    if start is None:
        return (_nothing_to_start(cmdline),)
    reached = _reach(units, start)
    chain = _chain(reached)
    return tuple(
        dict.fromkeys(
            (
                *_absent(units, reached),
                *_dangling(units),
                *_activations(units, reached.values()),
                *_requirements(units, reached.values()),
                *_programs(units, [unit for unit in reached.values() if unit in chain or not _conditional(unit)]),
                *_cycles(reached, reached.values()),
            )
        )
    )


def reached_units(units: Units, cmdline: str = "") -> dict[str, Unit]:
    """Return all units that are started sooner or later, by name; none where there is none to begin with.

    Raises:
        FormatError, Unsupported: as :func:`check_units`.
    """
    start = _start(units, cmdline)
    return {} if start is None else _reach(units, start)


def _start_name(cmdline: str) -> str:
    chosen = _TARGET.findall(cmdline)
    return chosen[-1] if chosen else "default.target"


def _start(units: Units, cmdline: str) -> Unit | None:
    found = units.get(_start_name(cmdline))
    return None if found is None or found.masked else found


def _nothing_to_start(cmdline: str) -> UnitFault:
    name = _start_name(cmdline)
    return UnitFault(kind=Fault.START, place=f"/{FOLDERS[-1]}/{name}", message=f"there is no `{name}` to start")


def _chain(reached: Mapping[str, Unit]) -> list[Unit]:
    """Return the guest's own units of those that are started."""
    ours = {path.rpartition("/")[2] for path in template_files("guest") if path.startswith(f"{UNITS}/")}
    return [unit for unit in reached.values() if unit.template in ours]


def _reach(units: Units, start: Unit) -> dict[str, Unit]:
    """Return all units that are started sooner or later, by name, without those that are masked."""
    reached = {start.name: start}
    todo = deque([start])
    while todo:
        unit = todo.popleft()
        for name in sorted(unit.pulled | ({unit.activates} if unit.activates else set())):
            found = units.get(name)
            if found is not None and not found.masked and found.name not in reached:
                reached[found.name] = found
                todo.append(found)
    return reached


def _absent(units: Units, reached: Mapping[str, Unit]) -> Iterator[UnitFault]:
    for name in AGENTS:
        found = units.get(name)
        said = None
        if found is None:
            said = f"`{name}` is not there"
        elif found.masked:
            said = f"`{name}` is masked"
        elif name not in reached:
            said = f"nothing starts `{name}`"
        if said is not None:
            place = f"/{UNITS}/{name}" if found is None else f"/{found.path}"
            yield UnitFault(kind=Fault.AGENT, place=place, message=said)


def _dangling(units: Units) -> Iterator[UnitFault]:
    """Find links that pull in a unit that is not there, or that lead nowhere themselves."""
    for folder, name in units.links():
        if units.tree.list(folder)[name].target == "/dev/null":
            continue
        if units.get(name) is None or units.tree.resolve(f"{folder}/{name}") is None:
            path = f"/{folder}/{name}"
            yield UnitFault(kind=Fault.LINK, place=path, message=f"`{path}` leads to no unit")


def _conditional(unit: Unit) -> bool:
    """Say whether a unit may well be passed over, so that a program that it lacks is no fault."""
    return any(key.startswith("Condition") for _, key, _ in unit.file.assignments)


def _activations(units: Units, starting: Iterable[Unit]) -> Iterator[UnitFault]:
    for unit in starting:
        if unit.activates is not None:
            yield from _needed(units, unit, unit.activates, "starts")


def _required(units: Units, chain: Iterable[Unit]) -> list[Unit]:
    """Return the units of the chain, what they require, and what that requires, without those that are masked."""
    needed = {unit.name: unit for unit in chain}
    todo = deque(needed.values())
    while todo:
        for name in sorted(todo.popleft().required):
            found = units.get(name)
            if found is not None and not found.masked and found.name not in needed:
                needed[found.name] = found
                todo.append(found)
    return list(needed.values())


def _requirements(units: Units, needed: Iterable[Unit]) -> Iterator[UnitFault]:
    for unit in needed:
        for name in sorted(unit.required):
            yield from _needed(units, unit, name, "requires")


def _needed(units: Units, unit: Unit, name: str, verb: str) -> Iterator[UnitFault]:
    found = units.get(name)
    said = None
    if found is None and name.endswith((".service", ".target", ".path", ".socket", ".timer")):
        said = f"`{unit.name}` {verb} `{name}`, which is not there"
    elif found is not None and found.masked:
        said = f"`{unit.name}` {verb} `{name}`, which is masked"
    if said is not None:
        yield UnitFault(kind=Fault.UNIT, place=f"/{unit.path}", message=said)


def _programs(units: Units, starting: Iterable[Unit]) -> Iterator[UnitFault]:
    for unit in starting:
        for program in programs_of(unit):
            found = look_up(units, program)
            said = None
            if found is None:
                said = f"`{unit.name}` runs `{program}`, which is not there"
            elif found[1].kind is not Kind.FILE or not found[1].mode & 0o111:
                said = f"`{unit.name}` runs `{program}`, which is not executable"
            if said is not None:
                yield UnitFault(kind=Fault.PROGRAM, place=f"/{unit.path}", message=said)


def _cycles(reached: Mapping[str, Unit], chain: Iterable[Unit]) -> Iterator[UnitFault]:
    """Say which units of the chain wait for one another: systemd leaves one of them out to break the cycle."""
    before = order_of(reached)
    told: set[str] = set()
    for cycle in sorted((cycle_of(before, unit.name) for unit in chain), key=len):
        if cycle and told.isdisjoint(cycle):
            told |= set(cycle)
            said = "these units wait for one another: " + " after ".join(f"`{name}`" for name in (*cycle, cycle[0]))
            yield UnitFault(kind=Fault.CYCLE, place=f"/{reached[cycle[0]].path}", message=said)
