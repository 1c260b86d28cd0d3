"""Nodes of a YAML document, each with its place in the text."""

from __future__ import annotations

from dataclasses import dataclass

from podvm_builder.catalog.yaml_scalars import ScalarValue
from podvm_builder.errors import InputError, Place

Plain = ScalarValue | list["Plain"] | dict[str, "Plain"]


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a node starts: 1-based line and column, and the length to underline."""

    line: int
    column: int
    length: int


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A single value."""

    value: ScalarValue
    text: str
    spot: Spot
    weight: int = 1


@dataclass(frozen=True, slots=True)
class ListNode:
    """A sequence."""

    items: tuple[Node, ...]
    spot: Spot
    weight: int


@dataclass(frozen=True, slots=True)
class MapNode:
    """A mapping; keys are text, in the order of the file, without duplicates."""

    entries: tuple[tuple[ScalarNode, Node], ...]
    spot: Spot
    weight: int

    def get(self, key: str) -> Node | None:
        """Return the value under a key, or None."""
        return next((node for name, node in self.entries if name.text == key), None)

    def has(self, key: str) -> bool:
        """Return whether the key is there."""
        return self.get(key) is not None

    def nodes(self, key: str) -> tuple[Node, ...]:
        """Return the items under a key that holds a list; none where it does not."""
        node = self.get(key)
        return node.items if isinstance(node, ListNode) else ()

    def key(self, key: str) -> ScalarNode | None:
        """Return the key's own node, or None."""
        return next((name for name, _ in self.entries if name.text == key), None)


Node = ScalarNode | ListNode | MapNode


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One YAML document and the errors that did not keep it from being read."""

    file: str
    lines: tuple[str, ...]
    root: Node
    errors: tuple[InputError, ...] = ()

    def place(self, spot: Spot, note: str | None = None) -> Place:
        """Return a spot as a place with its source line."""
        return place_of(self.file, self.lines, spot, note)


def plain(node: Node) -> Plain:
    """Return a node as lists, dictionaries and scalars; the depth was limited when it was read."""
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    if isinstance(node, MapNode):
        return {key.text: plain(value) for key, value in node.entries}
    return node.value


def place_of(file: str, lines: tuple[str, ...], spot: Spot, note: str | None) -> Place:
    """Return a spot of a file as a place, with its source line where there is one and it is short enough."""
    text = lines[spot.line - 1] if 0 < spot.line <= len(lines) else None
    if text is not None and len(text) > 200:  # a line that long helps nobody
        text = None
    return Place(file=file, line=spot.line, column=spot.column, length=spot.length, text=text, note=note)
