"""YAML text as located nodes, read strictly: one reader for the catalogue and for profiles.

What a YAML reader usually forgives is an error here, with its place: duplicate keys, values that YAML 1.1
and 1.2 read differently, tags, merge keys, several documents. Nodes are built from the parser's events without
recursion, and size, depth, aliases and the number of nodes that aliases expand to are limited, so that hostile
input costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from podvm_builder.catalog.yaml_nodes import Document, ListNode, MapNode, Node, ScalarNode, Spot, place_of
from podvm_builder.catalog.yaml_scalars import ScalarValue, core_value, surprise
from podvm_builder.errors import InputError, Place

MAX_CHARS = 128 * 1024
MAX_DEPTH = 32
MAX_ALIASES = 64
MAX_NODES = 8192
"""Nodes of a document with every alias expanded."""


def read_yaml(text: str, *, file: str, trusted: bool = False) -> Document:
    """Read one document.

    Args:
        text: the decoded text.
        file: its name, for messages.
        trusted: read with libyaml where it is available (the catalogue's own files).

    Raises:
        InputError: not YAML (PVB106), beyond a limit (PVB109), or a part of YAML that is not read here (PVB110).
    """
    if len(text) > MAX_CHARS:
        raise InputError(
            f"`{file}` is too large: {len(text)} characters, at most {MAX_CHARS} are read",
            code="PVB109",
            place=Place(file=file),
        )
    builder = _Builder(file=file, lines=tuple(text.splitlines()))
    for event in _events(text, builder, trusted=trusted):
        builder.take(event)
    root = builder.root or ScalarNode(None, "", Spot(1, 1, 1))
    return Document(file=file, lines=builder.lines, root=root, errors=tuple(builder.errors))


def _events(text: str, builder: _Builder, *, trusted: bool) -> Iterator[Any]:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader) if trusted else yaml.SafeLoader
    try:
        yield from yaml.parse(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise builder.error(
            f"not YAML: {_sentence(error)}", "PVB106", Spot(mark.line + 1, mark.column + 1, 1) if mark else None
        ) from None
    except yaml.reader.ReaderError as error:
        # a character that YAML does not allow: libyaml counts bytes up to it and PyYAML characters, so find it anew
        position = max(text.find(chr(error.character)), 0)
        line = text.count("\n", 0, position) + 1
        column = position - (text.rfind("\n", 0, position) + 1) + 1
        raise builder.error(
            f"not YAML: character U+{error.character:04X} is not allowed",
            "PVB106",
            Spot(line, column, 1),
            show=False,
        ) from None


def _sentence(error: Any) -> str:
    problem = str(error.problem or "cannot be read")
    context = str(error.context or "")
    return f"{problem} {context}".strip() if context else problem


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    is_map: bool
    spot: Spot
    anchor: str | None
    items: list[Node] = field(default_factory=list)
    entries: list[tuple[ScalarNode, Node]] = field(default_factory=list)
    seen: dict[str, Spot] = field(default_factory=dict)
    pending: ScalarNode | None = None
    weight: int = 1


class _Builder:
    """Turns events into nodes with an explicit stack."""

    def __init__(self, *, file: str, lines: tuple[str, ...]) -> None:
        self.file = file
        self.lines = lines
        self.errors: list[InputError] = []
        self.root: Node | None = None
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._aliases = 0
        self._documents = 0

    def error(
        self,
        message: str,
        code: str,
        spot: Spot | None,
        *,
        note: str | None = None,
        hint: str | None = None,
        show: bool = True,
    ) -> InputError:
        """Make an error at a spot; without ``show`` the source line is left out (it may be unprintable)."""
        place = Place(file=self.file) if spot is None else place_of(self.file, self.lines if show else (), spot, note)
        return InputError(message, code=code, place=place, hint=hint)

    def take(self, event: Any) -> None:
        """Take the parser's next event."""
        name = type(event).__name__
        if name == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                raise self.error("a second document begins; one is read", "PVB110", _spot(event))
        elif name == "AliasEvent":
            self._alias(event)
        elif name == "ScalarEvent":
            self._refuse_tag(event)
            self._scalar(event)
        elif name in ("SequenceStartEvent", "MappingStartEvent"):
            self._refuse_tag(event)
            self._begin(event, is_map=name == "MappingStartEvent")
        elif name in ("SequenceEndEvent", "MappingEndEvent"):
            self._end()

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            raise self.error(f"the tag `{event.tag}` is not read: a profile is plain data", "PVB110", _spot(event))

    def _alias(self, event: Any) -> None:
        self._aliases += 1
        spot = _spot(event)
        if self._aliases > MAX_ALIASES:
            raise self.error(f"more than {MAX_ALIASES} aliases", "PVB109", spot)
        node = self._anchors.get(event.anchor)
        if node is None:
            raise self.error(f"the alias `*{event.anchor}` stands for nothing before it", "PVB110", spot)
        self._add(node, spot)

    def _scalar(self, event: Any) -> None:
        spot = _spot(event)
        is_key = bool(self._stack) and self._stack[-1].is_map and self._stack[-1].pending is None
        value: ScalarValue = event.value
        if event.implicit[0] and not is_key:
            otherwise = surprise(event.value)
            if otherwise:
                self.errors.append(self._surprised(event.value, otherwise, spot))
            else:
                value = core_value(event.value)
        node = ScalarNode(value, event.value, spot)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._add(node, spot)

    def _surprised(self, text: str, otherwise: str, spot: Spot) -> InputError:
        return self.error(
            f"`{text}` is read as {otherwise}",
            "PVB108",
            spot,
            note=f'write `"{text}"` for the text' + (" or `true` or `false`" if "truth value" in otherwise else ""),
        )

    def _begin(self, event: Any, *, is_map: bool) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise self.error(f"nested more than {MAX_DEPTH} deep", "PVB109", _spot(event))
        self._stack.append(_Open(is_map, _spot(event), event.anchor))

    def _end(self) -> None:
        opened = self._stack.pop()
        node: Node
        if opened.is_map:
            node = MapNode(tuple(opened.entries), opened.spot, opened.weight)
        else:
            node = ListNode(tuple(opened.items), opened.spot, opened.weight)
        if opened.anchor is not None:
            self._anchors[opened.anchor] = node
        self._add(node, opened.spot)

    def _add(self, node: Node, spot: Spot) -> None:
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        parent.weight += node.weight
        if parent.weight > MAX_NODES:
            raise self.error(f"more than {MAX_NODES} values once aliases are expanded", "PVB109", spot)
        if not parent.is_map:
            parent.items.append(node)
        elif parent.pending is None:
            parent.pending = self._key(node, spot)
        else:
            key, parent.pending = parent.pending, None
            first = parent.seen.get(key.text)
            if first is None:
                parent.seen[key.text] = key.spot
                parent.entries.append((key, node))
            else:
                note = f"first given in line {first.line}"
                self.errors.append(self.error(f"duplicate key `{key.text}`", "PVB107", key.spot, note=note))

    def _key(self, node: Node, spot: Spot) -> ScalarNode:
        if not isinstance(node, ScalarNode):
            raise self.error("a key must be text", "PVB110", spot)
        if node.text == "<<":
            raise self.error("merge keys (`<<`) are not read", "PVB110", spot)
        return node


def _spot(event: Any) -> Spot:
    start, end = event.start_mark, event.end_mark
    length = end.column - start.column if end.line == start.line else 1
    return Spot(start.line + 1, start.column + 1, max(1, length))
