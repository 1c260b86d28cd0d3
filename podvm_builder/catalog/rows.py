"""Typed access to the mappings of the catalogue's files. A mistake in them is a mistake of ours: ``ValueError``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from podvm_builder.catalog.settings import GROUPS, SCALARS, SETTINGS, Edit, Kind, Op, edits_of, settings_in
from podvm_builder.catalog.yaml_nodes import Document, ListNode, MapNode, Node, ScalarNode, Spot
from podvm_builder.catalog.yaml_scalars import ScalarValue
from podvm_builder.errors import InputError


@dataclass(frozen=True, slots=True)
class Row:
    """One mapping of one file."""

    document: Document
    node: MapNode

    @property
    def place(self) -> str:
        """Return ``file:line``."""
        return f"{self.document.file}:{self.node.spot.line}"

    def only(self, *keys: str) -> Row:
        """Refuse keys that are not expected here."""
        for key, _ in self.node.entries:
            if key.text not in keys:
                raise self.wrong(f"unknown key `{key.text}`; known: {', '.join(keys)}", key.spot)
        return self

    def wrong(self, message: str, spot: Spot | None = None) -> ValueError:
        """Return the error to raise."""
        return ValueError(f"{self.document.file}:{(spot or self.node.spot).line}: {message}")

    def has(self, key: str) -> bool:
        """Return whether the key is given."""
        return self.node.get(key) is not None

    def text(self, key: str) -> str:
        """Return text."""
        value = self._scalar(key)
        if not isinstance(value, str):
            raise self.wrong(f"`{key}` must be text")
        return value

    def flag(self, key: str) -> bool:
        """Return a truth value."""
        value = self._scalar(key)
        if not isinstance(value, bool):
            raise self.wrong(f"`{key}` must be true or false")
        return value

    def number(self, key: str) -> int:
        """Return a whole number."""
        value = self._scalar(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(f"`{key}` must be a whole number")
        return value

    def maybe(self, key: str) -> str | None:
        """Return text, or None where the key is not given."""
        return self.text(key) if self.has(key) else None

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of text; empty where the key is not given."""
        node = self.node.get(key)
        if node is None:
            return ()
        items = (
            [item.value for item in node.items if isinstance(item, ScalarNode)] if isinstance(node, ListNode) else []
        )
        found = tuple(item for item in items if isinstance(item, str))
        if not isinstance(node, ListNode) or len(found) != len(node.items):
            raise self.wrong(f"`{key}` must be a list of text", node.spot)
        return found

    def text_map(self) -> dict[str, str]:
        """Return the mapping as names to text."""
        return {key.text: self.text(key.text) for key, _ in self.node.entries}

    def values(self) -> dict[str, ScalarValue | tuple[str, ...]]:
        """Return the mapping as names to single values and lists of text."""
        return {
            key.text: self.texts(key.text) if isinstance(node, ListNode) else self._scalar(key.text)
            for key, node in self.node.entries
        }

    def row(self, key: str) -> Row:
        """Return a mapping; an empty one where the key is not given."""
        node = self.node.get(key)
        if node is None:
            return Row(self.document, MapNode((), self.node.spot, 1))
        return self._row(node, key)

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Return the names and mappings of a mapping of mappings."""
        for key, node in self.node.entries:
            yield key.text, self._row(node, key.text)

    def row_list(self, key: str) -> Iterator[Row]:
        """Return the mappings of a list of mappings."""
        node = self.node.get(key)
        if not isinstance(node, ListNode):
            raise self.wrong(f"`{key}` must be a list")
        for item in node.items:
            yield self._row(item, key)

    def edits(self, *, lists_may_be_set: bool = False) -> tuple[Edit, ...]:
        """Return the mapping as a fragment; beyond the defaults, a fragment only edits lists."""
        for name, node in self.node.entries:
            if name.text in GROUPS:
                for child, _ in self._row(node, name.text).node.entries:
                    self._known(f"{name.text}.{child.text}", child.spot)
            else:
                self._known(name.text, name.spot)
        try:
            edits = tuple(edit for key, node in settings_in(self.node) for edit in edits_of(key, node, self.document))
        except InputError as error:
            raise self.wrong(error.message) from None
        for edit in edits:
            kind = SETTINGS[edit.key]
            if edit.op is Op.SET and kind not in SCALARS and kind is not Kind.STATES and not lists_may_be_set:
                raise ValueError(
                    f"{edit.place.file}:{edit.place.line}: a fragment edits `{edit.key}`, it does not set it"
                )
        return edits

    def _known(self, key: str, spot: Spot) -> None:
        if key not in SETTINGS:
            raise self.wrong(f"unknown setting `{key}`", spot)

    def _row(self, node: Node, key: str) -> Row:
        if not isinstance(node, MapNode):
            raise self.wrong(f"`{key}` must be a mapping", node.spot)
        return Row(self.document, node)

    def _scalar(self, key: str) -> ScalarValue:
        node = self.node.get(key)
        if not isinstance(node, ScalarNode):
            raise self.wrong(f"`{key}` must be a single value")
        return node.value
