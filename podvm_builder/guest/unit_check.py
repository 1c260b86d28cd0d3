"""Whether the units of an image can start its agents, seen from the file tree alone.

The units of the guest start one another by path units, so a program that is missing, or a mask too many, shows in a
boot as nothing but a port that stays silent. What is found here is found before.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from podvm_builder.formats.filetree import Kind, LinkedTree, ReadableTree
from podvm_builder.guest.files import template_files
from podvm_builder.guest.setup import UNITS
from podvm_builder.guest.unit_tree import Unit, Units, orders

AGENTS = (
    "process-user-data.service",
    "attestation-agent.service",
    "confidential-data-hub.service",
    "kata-agent.service",
    "agent-protocol-forwarder.service",
)
"""What must start for the forwarder to answer, in this order."""

_COMMANDS = ("ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost")
_PATH = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin")
_TARGET = re.compile(r"(?:^|\s)systemd\.unit=(\S+)")


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
    linked = LinkedTree(tree)
    units = Units(linked, masks)
    chosen = _TARGET.findall(cmdline)
    start = units.get(chosen[-1] if chosen else "default.target")
    if start is None or start.masked:
        return UnitFindings(faults=(f"there is no `{chosen[-1] if chosen else 'default.target'}` to start",))
    reached = _reach(units, start)
    ours = {path.rpartition("/")[2] for path in template_files("guest") if path.startswith(f"{UNITS}/")}
    chain = [unit for unit in reached.values() if unit.template in ours]
    needed = _required(units, chain)
    others = [unit for unit in reached.values() if unit not in needed]
    faults = (
        *_absent(units, reached),
        *_activations(units, chain),
        *_requirements(units, needed),
        *_programs(linked, [unit for unit in needed if unit in chain or not _conditional(unit)]),
        *_cycles(reached, chain),
    )
    remarks = (
        *_dangling(linked, units),
        *_activations(units, [unit for unit in others if unit.type == ".path"]),
        *_programs(linked, [unit for unit in others if not _conditional(unit)]),
    )
    return UnitFindings(faults=tuple(dict.fromkeys(faults)), remarks=tuple(dict.fromkeys(remarks)))


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


def _absent(units: Units, reached: Mapping[str, Unit]) -> Iterator[str]:
    for name in AGENTS:
        found = units.get(name)
        if found is None:
            yield f"`{name}` is not there"
        elif found.masked:
            yield f"`{name}` is masked"
        elif name not in reached:
            yield f"nothing starts `{name}`"


def _dangling(tree: LinkedTree, units: Units) -> Iterator[str]:
    for folder, name in units.links():
        if tree.list(folder)[name].target == "/dev/null":
            continue
        if units.get(name) is None or tree.resolve(f"{folder}/{name}") is None:
            yield f"`/{folder}/{name}` leads to no unit"


def _conditional(unit: Unit) -> bool:
    """Say whether a unit may well be passed over, so that a program that it lacks is no fault."""
    return any(key.startswith("Condition") for _, key, _ in unit.file.assignments)


def _activations(units: Units, starting: Iterable[Unit]) -> Iterator[str]:
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


def _requirements(units: Units, needed: Iterable[Unit]) -> Iterator[str]:
    for unit in needed:
        for name in sorted(unit.required):
            yield from _needed(units, unit, name, "requires")


def _needed(units: Units, unit: Unit, name: str, verb: str) -> Iterator[str]:
    found = units.get(name)
    if found is None and name.endswith((".service", ".target", ".path", ".socket", ".timer")):
        yield f"`{unit.name}` {verb} `{name}`, which is not there"
    elif found is not None and found.masked:
        yield f"`{unit.name}` {verb} `{name}`, which is masked"


def _programs(tree: LinkedTree, starting: Iterable[Unit]) -> Iterator[str]:
    for unit in starting:
        commands = [line for key in _COMMANDS for line in unit.file.commands("Service", key)]
        for line in commands:
            program = _program(line)
            if program is None:
                continue
            paths = [program[1:]] if program.startswith("/") else [f"{folder}/{program}" for folder in _PATH]
            found = next((at for at in map(tree.resolve, paths) if at is not None), None)
            if found is None:
                yield f"`{unit.name}` runs `{program}`, which is not there"
            elif found[1].kind is not Kind.FILE or not found[1].mode & 0o111:
                yield f"`{unit.name}` runs `{program}`, which is not executable"


def _program(line: str) -> str | None:
    """Return the program of a command line; None where it may fail, or depends on the machine.

    Specification: systemd.service(5), "Command lines": the prefixes, in any order.
    """
    word = line.split(maxsplit=1)[0] if line.strip() else ""
    program = word.lstrip("@-:+!|")
    if not program or "-" in word[: len(word) - len(program)] or "%" in program or "$" in program:
        return None
    return program.strip("\"'")


def _cycles(reached: Mapping[str, Unit], chain: Iterable[Unit]) -> Iterator[str]:
    """Say which units of the chain wait for one another: systemd leaves one of them out to break the cycle."""
    before = _order(reached)
    told: set[str] = set()
    for cycle in sorted((_cycle(before, unit.name) for unit in chain), key=len):
        if cycle and told.isdisjoint(cycle):
            told |= set(cycle)
            yield "these units wait for one another: " + " after ".join(f"`{name}`" for name in (*cycle, cycle[0]))


def _order(reached: Mapping[str, Unit]) -> dict[str, set[str]]:
    """Return for each unit those that it is ordered after.

    A target comes after what it wants and requires, unless that says otherwise (systemd.target(5)).
    """
    before: dict[str, set[str]] = {name: set() for name in reached}
    for unit in reached.values():
        for later, earlier in orders(unit):
            if later in reached and earlier in reached and later != earlier:
                before[later].add(earlier)
    for unit in reached.values():
        if unit.type == ".target" and unit.default_dependencies:
            for name in unit.pulled & reached.keys():
                if reached[name].default_dependencies and unit.name not in before[name]:
                    before[unit.name].add(name)
    return before


def _cycle(before: Mapping[str, set[str]], start: str) -> list[str]:
    """Return the shortest way from a unit over those that it is ordered after back to itself, empty if none is."""
    came: dict[str, str] = {}
    todo = deque([start])
    while todo:
        name = todo.popleft()
        for earlier in sorted(before[name]):
            if earlier == start:
                way = [name]
                while way[-1] != start:
                    way.append(came[way[-1]])
                return way[::-1]
            if earlier not in came:
                came[earlier] = name
                todo.append(earlier)
    return []
