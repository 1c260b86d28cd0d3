"""The programs that units run, found as systemd finds them.

Specification: systemd.service(5), "Command lines"; systemd.exec(5), "Paths": a program without folder is looked for in
the fixed search path of the service manager.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from podvm_builder.formats.filetree import Kind, TreeEntry
from podvm_builder.guest.unit_tree import Unit, Units

_COMMANDS = ("ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost")
_PATH = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin")


def unit_programs(units: Units, starting: Iterable[Unit]) -> Iterator[tuple[Unit, str]]:
    """Yield the programs that units run, as paths on the disk, those that are not there left out."""
    for unit in starting:
        for program in programs_of(unit):
            found = look_up(units, program)
            if found is not None and found[1].kind is Kind.FILE:
                yield unit, found[0]


def programs_of(unit: Unit) -> Iterator[str]:
    """Yield the programs of a unit as its commands name them, without those that may fail or depend on the machine."""
    for key in _COMMANDS:
        for line in unit.file.commands("Service", key):
            program = _program(line)
            if program is not None:
                yield program


def look_up(units: Units, program: str) -> tuple[str, TreeEntry] | None:
    """Return where a program stands on the disk, and its entry."""
    paths = [program[1:]] if program.startswith("/") else [f"{folder}/{program}" for folder in _PATH]
    return next((at for at in map(units.tree.resolve, paths) if at is not None), None)


def _program(line: str) -> str | None:
    """Return the program of a command line; None where it may fail, or depends on the machine.

    Specification: systemd.service(5), "Command lines": the prefixes, in any order.
    """
    word = line.split(maxsplit=1)[0] if line.strip() else ""
    program = word.lstrip("@-:+!|")
    if not program or "-" in word[: len(word) - len(program)] or "%" in program or "$" in program:
        return None
    return program.strip("\"'")
