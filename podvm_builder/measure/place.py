"""One file tree of an image as systemd looks for units in it: the initrd, or the root file system.

Specifications: systemd.unit(5) (an empty unit file or a link to ``/dev/null`` masks; drop-ins and their folders);
systemd-debug-generator(8) (masks on the command line).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from podvm_builder.errors import FormatError
from podvm_builder.formats.compression import Unsupported
from podvm_builder.formats.filetree import FileTree, Kind, LinkedTree, ReadableTree, find
from podvm_builder.formats.unit_file import TYPES, UnitFile, parse_unit

_UNITS = ("etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
_MASKER = "systemd/system-generators/systemd-debug-generator"
_WORD = re.compile(r"""(?:[^\s"']|"[^"]*(?:"|$)|'[^']*(?:'|$))+""")
"""A word of the command line, in which quotes may stand anywhere."""


class Place:
    """One tree, or why it cannot be read."""

    def __init__(self, name: str, tree: ReadableTree | None, unreadable: str, masks: frozenset[str]) -> None:
        """Collect the units of a tree.

        Raises:
            FormatError: the tree is damaged.
            Unsupported: it cannot be read here.
        """
        self.name = name
        self.unreadable = unreadable
        self._masks = masks
        self._units: dict[str, str] = {}
        self._masked: set[str] = set()
        self._wanted: set[str] = set()
        self._drop_ins: dict[str, dict[str, str]] = {}
        self._tree = None if tree is None else LinkedTree(tree)
        self._raw = tree
        if tree is not None:
            self._collect(tree)

    @classmethod
    def of(cls, name: str, open_tree: Callable[[], ReadableTree | None], masks: frozenset[str]) -> Place:
        """Read a tree; one that cannot be read says why."""
        try:
            return cls(name, open_tree(), "", masks)
        except (FormatError, Unsupported) as error:
            said = error.message if isinstance(error, FormatError) else str(error)
            return cls(name, None, f"the {name} cannot be read, and so not what it extends: {said}", masks)

    def _collect(self, tree: FileTree) -> None:
        for folder in _UNITS:
            for entry in tree.list(folder):
                # the first place counts
                if entry.name not in self._units:
                    self._units[entry.name] = f"{folder}/{entry.name}"
                    if entry.target == "/dev/null" or (entry.kind is Kind.FILE and entry.size == 0):
                        self._masked.add(entry.name)
                if entry.kind is Kind.FOLDER and entry.name.endswith((".wants", ".requires", ".upholds")):
                    self._wanted |= {wanted.name for wanted in tree.list(f"{folder}/{entry.name}")}
                if entry.name.endswith(".service.d") or entry.name == "service.d":
                    self._collect_drop_ins(tree, folder, entry.name, plain=entry.kind is Kind.FOLDER)

    def _collect_drop_ins(self, tree: FileTree, folder: str, name: str, *, plain: bool) -> None:
        path = f"{folder}/{name}"
        files = {file.name: f"{path}/{file.name}" for file in tree.list(path) if file.name.endswith(".conf")}
        # a link leads elsewhere: what is there is looked for when it is read
        found = self._drop_ins.setdefault(name, {})
        for file, at in (files if plain else {"": path}).items():
            found.setdefault(file, at)

    def runs(self, unit: str) -> bool:
        """Say whether a unit is there and not masked."""
        if unit not in self._units or unit in self._masked:
            return False
        return not (
            unit in self._masks and self._tree is not None and self._raw is not None and _masks_count(self._raw)
        )

    def drop_ins(self, unit: str) -> dict[str, str]:
        """Return the paths of a service's drop-ins by name; of a folder that is a link, its own path by no name."""
        words = unit.removesuffix(".service").split("-")
        cut = ["-".join(words[:number]) + "-.service.d" for number in range(len(words) - 1, 0, -1)]
        found: dict[str, str] = {}
        for folder in (f"{unit}.d", *cut, "service.d"):
            for name, path in self._drop_ins.get(folder, {}).items():
                found.setdefault(name, path)
        return dict(sorted(found.items()))

    def unit(self, name: str) -> UnitFile:
        """Return a unit with its drop-ins.

        Raises:
            FormatError: one of the files cannot be read, or a folder of drop-ins is a link.
            Unsupported: likewise.
        """
        return parse_unit(self._text(self._units[name]), *map(self._text, self.drop_ins(name).values()))

    def _text(self, path: str) -> str:
        assert self._tree is not None  # noqa: S101 - a place that cannot be read has no units
        found = self._tree.resolve(path)
        if found is None or found[1].kind is not Kind.FILE:
            raise FormatError(f"`{path}` of the {self.name} is no file, or leads to none", code="PVB256")
        return self._tree.text(found[0])

    def wants(self, unit: str) -> bool:
        """Say whether another unit pulls it in."""
        return unit in self._wanted

    def has(self, path: str) -> bool:
        """Say whether a path exists."""
        return self._raw is not None and find(self._raw, path) is not None

    def reaches_tpm(self) -> bool:
        """Say whether what systemd loads to speak to a TPM is there: its helper and the TSS libraries."""
        if self._raw is None:
            return False
        helpers = ("systemd-pcrextend", "systemd-pcrphase")
        libraries = [entry.name for folder in _libraries(self._raw) for entry in self._raw.list(folder)]
        return any(self.has(f"usr/lib/systemd/{name}") for name in helpers) and all(
            any(name.startswith(wanted) for name in libraries)
            for wanted in ("libtss2-esys.so", "libtss2-tcti-device.so")
        )


def masked_units(cmdline: str, root: FileTree) -> frozenset[str]:
    """Return the units of a root file system that the command line masks.

    Raises:
        FormatError: the tree is damaged.
        Unsupported: it cannot be read here.
    """
    return masks(cmdline, "systemd.mask") if _masks_count(root) else frozenset()


def masks(cmdline: str, key: str) -> frozenset[str]:
    """Return the units that a key of the command line masks.

    systemd-debug-generator honours ``rd.systemd.mask=`` in the initrd only and ``systemd.mask=`` only in the main
    system; a name without a type is a service's.
    """
    names = list(assigned(cmdline, key))
    return frozenset(name if name.endswith(TYPES) else f"{name}.service" for name in names if name)


def assigned(cmdline: str, key: str) -> Iterator[str]:
    """Yield the values that a command line gives to a key; quotes are removed."""
    for word in _WORD.findall(cmdline):
        name, separator, value = re.sub("[\"']", "", word).partition("=")
        if separator and name == key:
            yield value


def _masks_count(tree: FileTree) -> bool:
    """Say whether the generator is there that makes masks of words of the command line."""
    return any(find(tree, f"{folder}/{_MASKER}") is not None for folder in ("usr/lib", "lib"))


def _libraries(tree: FileTree) -> list[str]:
    nested = [f"usr/lib/{entry.name}" for entry in tree.list("usr/lib") if entry.name.endswith("-linux-gnu")]
    return ["usr/lib", "usr/lib64", *nested]
