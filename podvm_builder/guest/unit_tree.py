"""The units of an image, found in its file tree as systemd finds them.

Specification: systemd.unit(5), "Unit File Load Path", and for implicit dependencies the section "Automatic
Dependencies" of each type's page. Generators are not run: what they make is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from podvm_builder.formats.filetree import Kind, LinkedTree
from podvm_builder.formats.unit_file import TYPES, UnitFile, parse_unit

FOLDERS = ("etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")
"""Where units are looked for; the first place counts."""
PULLING = ("Wants", "Requires", "BindsTo", "Upholds")
REQUIRING = ("Requires", "BindsTo", "Requisite")
_LINK_FOLDERS = {".wants": "Wants", ".requires": "Requires", ".upholds": "Upholds"}
_ACTIVATED = {".path": ("Path", "Unit"), ".timer": ("Timer", "Unit"), ".socket": ("Socket", "Service")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit that is there."""

    name: str
    """Its own, whatever alias it was asked for by."""
    path: str
    """On the disk."""
    masked: bool
    file: UnitFile
    pulled: frozenset[str] = frozenset()
    """What its settings and link folders pull in."""
    required: frozenset[str] = frozenset()
    """What must have started before it does, or with it."""
    activates: str | None = None
    """What a path, timer or socket starts when its time has come."""

    @property
    def type(self) -> str:
        """Suffix of its name."""
        return "." + self.name.rpartition(".")[2]

    @property
    def template(self) -> str:
        """Name of the file that it is made from."""
        return self.path.rpartition("/")[2]

    @property
    def default_dependencies(self) -> bool:
        """Whether it has the dependencies that units of its type get by themselves."""
        return self.file.flag("Unit", "DefaultDependencies", default=True)


class Units:
    """The units of a tree."""

    def __init__(self, tree: LinkedTree, masks: frozenset[str] = frozenset()) -> None:
        """Look into a tree.

        Args:
            tree: the root file system's.
            masks: units that the kernel command line masks.
        """
        self._tree = tree
        self._masks = masks
        self._units: dict[str, Unit | None] = {}
        self._aliases: dict[str, set[str]] = {}
        for folder in FOLDERS:
            for name, entry in tree.list(folder).items():
                if entry.kind is Kind.LINK and name.endswith(TYPES):
                    self._aliases.setdefault(entry.target.rpartition("/")[2], set()).add(name)

    @property
    def tree(self) -> LinkedTree:
        """The tree that they were found in."""
        return self._tree

    def get(self, name: str) -> Unit | None:
        """Return a unit by its name or alias; None where there is no such unit.

        Raises:
            FormatError, Unsupported: the file cannot be read.
        """
        if name not in self._units:
            self._units[name] = None  # what an alias that leads back to itself stands for
            self._units[name] = self._load(name)
        return self._units[name]

    def links(self) -> Iterator[tuple[str, str]]:
        """Yield folder and name of every link by which one unit pulls another in, from all units there are."""
        for folder in FOLDERS:
            for below, entry in self._tree.list(folder).items():
                if entry.kind is Kind.FOLDER and below.endswith(tuple(_LINK_FOLDERS)):
                    yield from ((f"{folder}/{below}", name) for name in self._tree.list(f"{folder}/{below}"))

    def _load(self, name: str) -> Unit | None:
        for candidate in _files_of(name):
            for folder in FOLDERS:
                entry = self._tree.list(folder).get(candidate)
                if entry is None:
                    continue
                if name in self._masks or entry.target == "/dev/null":
                    return Unit(name=name, path=f"{folder}/{candidate}", masked=True, file=UnitFile())
                found = self._tree.resolve(f"{folder}/{candidate}")
                if found is None or found[1].kind is not Kind.FILE:
                    return None
                real = found[0].rpartition("/")[2]
                if real != candidate and candidate == name:
                    return self.get(real)  # an alias
                return self._made(name, found[0], empty=found[1].size == 0)
        return None

    def _made(self, name: str, path: str, *, empty: bool) -> Unit:
        if empty:
            return Unit(name=name, path=path, masked=True, file=UnitFile())
        file = parse_unit(self._tree.text(path), *self._drop_ins(name))
        linked = {key: self._linked(name, suffix) for suffix, key in _LINK_FOLDERS.items()}
        words = {key: {*_names(file, name, key), *linked.get(key, ())} for key in {*PULLING, *REQUIRING}}
        return Unit(
            name=name,
            path=path,
            masked=False,
            file=file,
            pulled=frozenset().union(*(words[key] for key in PULLING)),
            required=frozenset().union(*(words[key] for key in REQUIRING)),
            activates=_activated(name, file),
        )

    def _drop_ins(self, name: str) -> Iterator[str]:
        """Yield the drop-ins of a unit by their names; of equal names the first place counts."""
        found: dict[str, str] = {}
        for below in _drop_in_folders(name):
            for folder in FOLDERS:
                for conf in self._tree.list(f"{folder}/{below}"):
                    if conf.endswith(".conf"):
                        found.setdefault(conf, f"{folder}/{below}/{conf}")
        for conf in sorted(found):
            at = self._tree.resolve(found[conf])
            if at is not None and at[1].kind is Kind.FILE:
                yield self._tree.text(at[0])

    def _linked(self, name: str, suffix: str) -> list[str]:
        """Return what stands in a unit's link folders, those of its aliases included."""
        names = sorted({name, *self._aliases.get(name, ())})
        return [word for folder in FOLDERS for one in names for word in self._tree.list(f"{folder}/{one}{suffix}")]


def orders(unit: Unit) -> Iterator[tuple[str, str]]:
    """Yield pairs of a unit that starts later and one that starts before it, as this unit orders them."""
    after = set(_names(unit.file, unit.name, "After"))
    before = set(_names(unit.file, unit.name, "Before"))
    if unit.activates is not None:
        before.add(unit.activates)
    if unit.default_dependencies and unit.type in (".service", ".socket", ".path", ".timer"):
        after.add("sysinit.target")
        if unit.type == ".service":
            after.add("basic.target")
        else:
            before.add(f"{unit.type[1:]}s.target")
    yield from ((unit.name, other) for other in after)
    yield from ((other, unit.name) for other in before)


def _names(file: UnitFile, name: str, *keys: str) -> Iterator[str]:
    """Yield unit names of a setting; those with specifiers that depend on the machine are left out."""
    prefix, _, rest = name.partition("@")
    instance = rest.rpartition(".")[0]
    known = {"%i": instance, "%I": instance, "%p": prefix, "%n": name, "%N": name.rpartition(".")[0]}
    for word in file.lists("Unit", *keys):
        expanded = re.sub("%[iIpnN]", lambda match: known[match[0]], word)
        if "%" not in expanded:
            yield expanded


def _activated(name: str, file: UnitFile) -> str | None:
    stem, _, suffix = name.rpartition(".")
    if f".{suffix}" not in _ACTIVATED:
        return None
    section, key = _ACTIVATED[f".{suffix}"]
    if suffix == "socket" and file.flag(section, "Accept", default=False):
        return None  # an instance of a template for each connection
    return file.last(section, key) or f"{stem}.service"


def _files_of(name: str) -> tuple[str, ...]:
    """Return the names of files that a unit may be made from."""
    prefix, at, rest = name.partition("@")
    return (name, f"{prefix}@.{rest.rpartition('.')[2]}") if at else (name,)


def _drop_in_folders(name: str) -> Iterator[str]:
    """Yield the names of a unit's drop-in folders, the most particular first."""
    suffix = name.rpartition(".")[2]
    for file in _files_of(name):
        yield f"{file}.d"
    parts = name.rpartition(".")[0].partition("@")[0].split("-")
    for count in range(len(parts) - 1, 0, -1):
        yield "-".join(parts[:count]) + f"-.{suffix}.d"
    yield f"{suffix}.d"
