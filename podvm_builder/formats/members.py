"""The tree that the members of an archive make, and what may be in one.

Two readings: that of an archive of files, where nothing may lead out of the tree or stand there twice, and that of a
container image, whose layers lie one over the other, and whose links are those of a root file system: ``/`` is the
image's own, and ``..`` does not go beyond it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.tar import Member, MemberKind

UNSAFE = "PVB721"
MISSING = "PVB723"
NO_FILE = "PVB725"
_MAX_NAME = 4096
"""Characters of a path: PATH_MAX."""
_MAX_PART = 255
_MAX_DEPTH = 128
_MAX_LINKS = 40
"""Symbolic links on one path, as in Linux."""
_MAX_STEPS = 1 << 23
"""Parts of paths that are gone over in one tree; a crafted one may have links to links to links."""
_MAX_COMPARED = 4096
_SET_ID = 0o6000


@dataclass(slots=True)
class Node:
    """A place in the tree; ``member`` None is a folder that no member names."""

    member: Member | None = None
    layer: int = 0
    children: dict[str, Node] = field(default_factory=dict)

    @property
    def kind(self) -> MemberKind:
        """What stands there."""
        return MemberKind.FOLDER if self.member is None else self.member.kind


class Steps:
    """How many parts of paths may still be gone over in one tree."""

    def __init__(self) -> None:
        """Begin with all of them."""
        self._left = _MAX_STEPS

    def take(self) -> None:
        """Count one; FormatError where it is one too many."""
        self._left -= 1
        if self._left < 0:
            raise FormatError("archive: its links lead over more places than is credible", code=UNSAFE)


class Escape(Exception):
    """A path leads out of the tree."""


class Loop(Exception):
    """A path goes over more links than Linux follows."""


def parts_of(name: str, *, rooted: bool = False) -> tuple[str, ...]:
    """Return the parts of a member's name; none for the root itself.

    Args:
        name: as the archive has it.
        rooted: a ``/`` at its beginning is the tree's own root, as in a container image.

    Raises:
        FormatError: PVB721, it is absolute, goes up, or is too long.
    """
    if not name or len(name) > _MAX_NAME:
        raise FormatError(f"archive: a member with a name of {len(name)} characters", code=UNSAFE)
    if name.startswith("/") and not rooted:
        raise FormatError(f"archive: member `{name}` has an absolute path", code=UNSAFE)
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise FormatError(f"archive: member `{name}` leads out of the tree", code=UNSAFE)
    if len(parts) > _MAX_DEPTH or any(len(part) > _MAX_PART for part in parts):
        raise FormatError(f"archive: member `{name[:80]}…` is deeper or longer than a path may be", code=UNSAFE)
    return parts


def resolve(root: Node, path: tuple[str, ...], *, rooted: bool, steps: Steps) -> tuple[str, ...]:
    """Follow the symbolic links of a path to the place that it names, whether or not something stands there.

    Args:
        root: the tree's root.
        path: parts; ``..`` may be among them.
        rooted: an absolute link begins at the tree's root, and ``..`` stays there, as for a system that runs from it.
        steps: those left for this tree.

    Raises:
        FormatError: PVB721, there are none left.
        Escape: it leads out of the tree; not if ``rooted``.
        Loop: it goes over more than 40 links.
    """
    todo = list(reversed(path))
    # each place with the node that stands there, None where nothing does
    at: list[tuple[str, Node | None]] = []
    links = 0
    while todo:
        part = todo.pop()
        steps.take()
        if part in ("", "."):
            continue
        if part == "..":
            if not at and not rooted:
                raise Escape
            if at:
                at.pop()
            continue
        above = at[-1][1] if at else root
        node = above.children.get(part) if above is not None else None
        if node is None or node.kind is not MemberKind.SYMLINK:
            at.append((part, node))
            continue
        links += 1
        if links > _MAX_LINKS:
            raise Loop
        assert node.member is not None  # noqa: S101 - what is no member is a folder
        if node.member.target.startswith("/"):
            if not rooted:
                raise Escape
            at.clear()
        todo += reversed(node.member.target.split("/"))
    return tuple(part for part, _ in at)


def look(root: Node, parts: tuple[str, ...]) -> Node | None:
    """Return what stands at a place, without following links."""
    node: Node | None = root
    for part in parts:
        node = node.children.get(part) if node is not None else None
    return node


class ArchiveTree:
    """The files of one archive; members are added in its order."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.root = Node()
        self._links: list[tuple[tuple[str, ...], Member]] = []
        self._steps = Steps()

    def add(self, member: Member) -> tuple[str, ...]:
        """Add a member and return its place.

        Raises:
            FormatError: PVB721, it must not be in an archive of files.
        """
        parts = parts_of(member.name)
        if member.kind not in (MemberKind.FILE, MemberKind.FOLDER, MemberKind.SYMLINK, MemberKind.HARDLINK):
            raise FormatError(f"archive: member `{member.name}` is a {member.kind}", code=UNSAFE)
        if member.kind is MemberKind.FILE and member.mode & _SET_ID:
            raise FormatError(
                f"archive: member `{member.name}` would run with its owner's rights (mode {member.mode:04o})",
                code=UNSAFE,
            )
        node = self.root
        for part in parts[:-1]:
            node = node.children.setdefault(part, Node())
            if node.kind is not MemberKind.FOLDER:
                raise FormatError(f"archive: member `{member.name}` lies below a {node.kind}", code=UNSAFE)
        if not parts:
            if member.kind is not MemberKind.FOLDER:
                raise FormatError(f"archive: member `{member.name}` stands for the tree and is no folder", code=UNSAFE)
            return parts
        before = node.children.get(parts[-1])
        if before is not None and not (before.kind is member.kind is MemberKind.FOLDER):
            raise FormatError(f"archive: member `{member.name}` is there twice", code=UNSAFE)
        if before is None:
            node.children[parts[-1]] = Node(member=member)
        if member.kind is MemberKind.HARDLINK:
            self._check_hard_link(member)
        if member.kind is MemberKind.SYMLINK:
            self._links.append((parts, member))
        return parts

    def check(self) -> None:
        """See, when all members are there, that no symbolic link leads out of the tree.

        Raises:
            FormatError: PVB721, one does.
        """
        for parts, member in self._links:
            try:
                resolve(self.root, parts, rooted=False, steps=self._steps)
            except Escape:
                raise FormatError(
                    f"archive: the symbolic link `{member.name}` to `{member.target}` leads out of the tree",
                    code=UNSAFE,
                ) from None
            except Loop:
                raise FormatError(f"archive: the symbolic link `{member.name}` leads nowhere", code=UNSAFE) from None

    def _check_hard_link(self, member: Member) -> None:
        """See that a hard link is one to a file that came before, through no symbolic link."""
        found = look(self.root, parts_of(member.target)) if member.target else None
        if found is None or found.kind not in (MemberKind.FILE, MemberKind.HARDLINK) or found.member is member:
            raise FormatError(
                f"archive: the hard link `{member.name}` to `{member.target}` is to no file that came before",
                code=UNSAFE,
            )

    def file(self, name: str, what: str) -> Member:
        """Return the file that a name stands for, links followed.

        Args:
            name: with or without ``./`` before it.
            what: the archive's name, for messages.

        Raises:
            InputError: PVB723, there is none; PVB725, it is no file.
        """
        try:
            node = look(self.root, resolve(self.root, parts_of(name), rooted=False, steps=self._steps))
        except (Escape, Loop):  # of several links that are fine one by one
            raise InputError(f"`{name}` in `{what}` is a link that leads nowhere", code=NO_FILE) from None
        while node is not None and node.member is not None and node.kind is MemberKind.HARDLINK:
            node = look(self.root, parts_of(node.member.target))
        return require_file(self.root, node, name, what)

    def hard_link_target(self, member: Member) -> tuple[str, ...]:
        """Return the place of the file that a hard link is another name of."""
        while member.kind is MemberKind.HARDLINK:
            parts = parts_of(member.target)
            node = look(self.root, parts)
            assert node is not None and node.member is not None  # noqa: S101 - add() has seen to it
            member = node.member
        return parts


def require_file(root: Node, node: Node | None, name: str, what: str) -> Member:
    """Return the member of a node that has to be a file.

    Raises:
        InputError: PVB723, nothing stands there, with names that are near; PVB725, something else does.
    """
    if node is None:
        near = near_names(root, name)
        hint = f"it has {', '.join(f'`{one}`' for one in near)}" if near else "no name in it is near"
        raise InputError(f"`{what}` has no `{name}`", code=MISSING, hint=hint)
    if node.kind is not MemberKind.FILE or node.member is None:
        raise InputError(f"`{name}` in `{what}` is a {node.kind}, not a file", code=NO_FILE)
    return node.member


def near_names(root: Node, name: str) -> list[str]:
    """Return up to three names that may be meant: those of the same last part, or else those that look alike."""
    last = name.rstrip("/").rpartition("/")[2]
    names = [path for path, node in walk(root) if node.kind is not MemberKind.FOLDER]
    same = [path for path in names if path.rpartition("/")[2] == last]
    return same[:3] or get_close_matches(name.lstrip("./"), names[:_MAX_COMPARED], n=3)


def walk(root: Node) -> Iterator[tuple[str, Node]]:
    """Yield every place below a root, folders before what they hold, names in order."""
    todo = [("", root)]
    while todo:
        path, node = todo.pop()
        if path:
            yield path, node
        todo += [
            (f"{path}/{name}" if path else name, node.children[name]) for name in sorted(node.children, reverse=True)
        ]
