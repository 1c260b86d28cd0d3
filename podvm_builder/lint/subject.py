"""What is linted: an image, a recipe or a file tree, with all that is known of what it is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from podvm_builder.formats.compression import Unsupported
from podvm_builder.formats.filetree import Kind, LinkedTree, ReadableTree, TreeEntry, walk
from podvm_builder.guest.unit_check import reached_units
from podvm_builder.guest.unit_tree import Unit, Units
from podvm_builder.model.recipe import RecipeTree

COMMAND_LINE = "kernel command line"
INITRD = "initrd"
DISK = "disk"


class Need(StrEnum):
    """What a rule looks at; its text says why the rule was not applied where there is none."""

    ROOT = "needs a whole root file system"
    FILES = "needs files of the root file system"
    COMMAND_LINE = "needs a kernel command line"
    INITRD = "needs an initrd"
    DISK = "needs a disk"
    RECIPE = "needs a recipe"
    TEE = "needs to know the TEE (--target)"
    CLOUD = "needs to know the cloud (--target)"
    PHASES = "needs to know whether boot phases are asked for (--target)"
    EPOCH = "needs to know the image's time"
    OWNERS = "needs owners and times that are the image's, not those of a copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the image is for; None where that is not known."""

    arch: str = "x86_64"
    tee: str | None = None
    cloud: str | None = None
    variant: str = "production"
    features: tuple[str, ...] = ()
    phases: bool | None = None
    """Whether the profile asks for boot phases in PCR 11."""
    epoch: int | None = None
    """Seconds since 1970 UTC that no time in the image is later than."""
    root_hash: str | None = None
    """What the manifest says, hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerityFacts:
    """What dm-verity will make of a disk."""

    partitions: Mapping[str, str]
    """``root`` and ``verity`` to the partitions' UUIDs, without dashes; absent where there is no such partition."""
    computed: str | None
    """Root hash of the data as it is under the hash partition's parameters, hex; None where there are none."""
    reason: str
    """Why there is none."""


class Files:
    """The files of a root, listed once; what cannot be read is remembered."""

    def __init__(self, tree: ReadableTree, *, cmdline: str = "", masks: frozenset[str] = frozenset()) -> None:
        """List everything.

        Raises:
            FormatError: the tree is damaged.
            Unsupported: its folders cannot be read here.
        """
        self.entries: dict[str, TreeEntry] = dict(walk(tree))
        self.linked = LinkedTree(tree)
        self.unread: dict[str, str] = {}
        """Files whose content could not be read, and why."""
        self.units = Units(self.linked, masks)
        self._cmdline = cmdline
        self._reached: dict[str, Unit] | None = None
        self._tree = tree

    def text(self, path: str) -> str | None:
        """Return a file's content, links followed; None where there is no such file, or it cannot be read."""
        found = self.linked.resolve(path)
        if found is None or found[1].kind is not Kind.FILE:
            return None
        try:
            return self.linked.text(found[0])
        except Unsupported as error:
            self.unread[found[0]] = str(error)
            return None

    def data(self, path: str) -> bytes | None:
        """Return the content of a file of the disk; None where it cannot be read."""
        try:
            return self._tree.read(path)
        except Unsupported as error:
            self.unread[path] = str(error)
            return None

    def below(self, folder: str) -> Iterator[tuple[str, TreeEntry]]:
        """Yield path and entry of everything below a folder."""
        return ((path, entry) for path, entry in self.entries.items() if path.startswith(f"{folder}/"))

    @property
    def reached(self) -> dict[str, Unit]:
        """All units that are started sooner or later, by name; empty where there is none to begin with."""
        if self._reached is None:
            self._reached = reached_units(self.units, self._cmdline)
        return self._reached


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is linted."""

    name: str
    kind: str
    about: About
    files: Files | None = None
    """Of the root; of a recipe, those that it adds to its packages."""
    cmdline: str | None = None
    initrd: ReadableTree | None = None
    verity: VerityFacts | None = None
    settings: Mapping[str, tuple[str, ...]] | None = None
    """Of a recipe's ``mkosi.conf``: key to values."""
    recipe: RecipeTree = field(default_factory=dict)
    owners: bool = True
    """Whether owners and times are the image's own."""

    @property
    def has(self) -> frozenset[Need]:
        """What rules may look at."""
        about = self.about
        held = {
            Need.ROOT: self.files is not None and self.settings is None,
            Need.FILES: self.files is not None,
            Need.COMMAND_LINE: self.cmdline is not None,
            Need.INITRD: self.initrd is not None,
            Need.DISK: self.verity is not None,
            Need.RECIPE: self.settings is not None,
            Need.TEE: about.tee is not None,
            Need.CLOUD: about.cloud is not None,
            Need.PHASES: about.phases is not None,
            Need.EPOCH: about.epoch is not None,
            Need.OWNERS: self.owners,
        }
        return frozenset(need for need, holds in held.items() if holds)

    @property
    def root(self) -> Files:
        """The files, for rules that need them."""
        if self.files is None:
            raise TypeError("a rule looks at files that it does not say it needs")
        return self.files

    @property
    def words(self) -> tuple[str, ...]:
        """Words of the command line."""
        return tuple((self.cmdline or "").split())
