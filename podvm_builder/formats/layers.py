"""The file system of a container image: layers, one over the other, with whiteouts.

OCI Image Specification 1.1, layer.md. A member ``.wh.NAME`` hides what lower layers have as ``NAME``, ``.wh..wh..opq``
all that they have in its folder; neither hides what its own layer has, in whatever order the two come. A member below
a symbolic link of a lower layer goes where that link leads, as container runtimes unpack it. Devices, owners and
set-user-ID bits are of no account here: files are read from the tree, it is not made.
"""

from __future__ import annotations

from collections.abc import Iterable

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.members import NO_FILE, UNSAFE, Loop, Node, Steps, look, parts_of, require_file, resolve
from podvm_builder.formats.tar import Member, MemberKind

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


class LayerTree:
    """What is seen when all layers that were applied lie over each other."""

    def __init__(self) -> None:
        """Begin with an empty root."""
        self.root = Node()
        self._layers = 0
        self._steps = Steps()

    def apply(self, members: Iterable[Member]) -> None:
        """Put the next layer over the others.

        Raises:
            FormatError: PVB720 to PVB724, of the archive; PVB721, a member leads out of the tree.
        """
        placed: list[tuple[tuple[str, ...], Member]] = []
        for member in members:
            parts = parts_of(member.name, rooted=True)
            if not parts:
                continue
            if parts[-1] == _OPAQUE:
                self._clear(parts[:-1])
            elif parts[-1].startswith(_WHITEOUT):
                self._hide(parts[:-1], parts[-1].removeprefix(_WHITEOUT), member)
            else:
                placed.append((parts, member))
        # after all whiteouts: they hide what is below this layer, never what is in it
        for parts, member in placed:
            self._place(parts, member)
        self._layers += 1

    def file(self, path: str, what: str) -> tuple[int, Member]:
        """Return the layer and the member of the file at a path, links followed as by a system that runs from it.

        Args:
            path: with or without a leading slash.
            what: the image's name, for messages.

        Raises:
            InputError: PVB723, there is none; PVB725, it is no file.
        """
        try:
            node = look(self.root, resolve(self.root, parts_of(path, rooted=True), rooted=True, steps=self._steps))
        except Loop:
            raise InputError(f"`{path}` in `{what}` is a symbolic link that leads nowhere", code=NO_FILE) from None
        member = require_file(self.root, node, path, what)
        assert node is not None  # noqa: S101 - require_file has seen to it
        return node.layer, member

    def _folder(self, parts: tuple[str, ...], name: str) -> tuple[str, ...]:
        try:
            return resolve(self.root, parts, rooted=True, steps=self._steps)
        except Loop:
            raise FormatError(f"image layer: `{name}` lies below a link that leads nowhere", code=UNSAFE) from None

    def _clear(self, folder: tuple[str, ...]) -> None:
        node = look(self.root, self._folder(folder, "/".join(folder)))
        if node is not None:
            node.children.clear()

    def _hide(self, folder: tuple[str, ...], name: str, member: Member) -> None:
        if name in ("", ".", ".."):
            raise FormatError(f"image layer: the whiteout `{member.name}` hides nothing that can be", code=UNSAFE)
        node = look(self.root, self._folder(folder, member.name))
        if node is not None:
            node.children.pop(name, None)

    def _place(self, parts: tuple[str, ...], member: Member) -> None:
        source, layer = member, self._layers
        if member.kind is MemberKind.HARDLINK:
            target = parts_of(member.target, rooted=True) if member.target else ()
            found = look(self.root, self._folder(target[:-1], member.name) + target[-1:])
            if found is None or found.member is None or found.kind is MemberKind.FOLDER:
                raise FormatError(f"image layer: the hard link `{member.name}` is to nothing", code=UNSAFE)
            source, layer = found.member, found.layer
        node = self.root
        for part in self._folder(parts[:-1], member.name):
            below = node.children.get(part)
            if below is None or below.kind is not MemberKind.FOLDER:
                below = node.children[part] = Node(layer=self._layers)
            node = below
        before = node.children.get(parts[-1])
        if before is not None and before.kind is source.kind is MemberKind.FOLDER:
            before.member, before.layer = source, layer
        else:
            node.children[parts[-1]] = Node(member=source, layer=layer)
