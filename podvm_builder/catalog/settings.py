"""The settings of a plan, and edits to them: the vocabulary that the catalogue and profiles share.

A setting is named by a dotted key. A fragment is what one layer (a distribution, a TEE, a profile …) says
about settings: an ordered list of edits. Merging fragments is planning's work (``planning.merge``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from podvm_builder.catalog.yaml_nodes import Document, ListNode, MapNode, Node, ScalarNode, plain
from podvm_builder.errors import InputError, Place
from podvm_builder.model.fact import FACTS


class Kind(StrEnum):
    """What a setting holds."""

    TEXT = "text"
    FLAG = "flag"
    NUMBER = "number"
    WORDS = "words"
    """A list of text."""
    NUMBERS = "numbers"
    """A list of whole numbers."""
    COUNTS = "counts"
    """A list of whole numbers, where text such as ``1-4`` or ``1,2,4`` stands for several."""
    STATES = "states"
    """A mapping from systemd units to ``enable`` or ``mask``; ``disable`` takes an entry out."""


SETTINGS: dict[str, Kind] = {
    "packages": Kind.WORDS,
    "kernel.package": Kind.TEXT,
    "kernel.cmdline": Kind.WORDS,
    "kernel.modules": Kind.WORDS,
    "kernel.initrd_modules": Kind.WORDS,
    "image.root_format": Kind.TEXT,
    "image.hostname": Kind.TEXT,
    "image.source_date_epoch": Kind.NUMBER,
    "image.remove": Kind.WORDS,
    "units": Kind.STATES,
    "components": Kind.TEXT,
    "measure.phases": Kind.FLAG,
    "guest.policy": Kind.TEXT,
    "guest.registry_auth": Kind.TEXT,
    "guest.port": Kind.NUMBER,
    "guest.tls": Kind.TEXT,
    "guest.scratch": Kind.TEXT,
    "guest.fallback_dns": Kind.WORDS,
    "guest.aa": Kind.TEXT,
    "guest.cdh": Kind.TEXT,
    "guest.registries": Kind.TEXT,
    "guest.client_ca": Kind.TEXT,
    "guest.ca_certificates": Kind.WORDS,
    "guest.ssh_key": Kind.TEXT,
    "guest.bake": Kind.WORDS,
    "platform.vmm": Kind.TEXT,
    "platform.firmware": Kind.TEXT,
    "platform.boot": Kind.WORDS,
    "platform.vcpus": Kind.COUNTS,
    "platform.cpus": Kind.WORDS,
    "platform.guest_features": Kind.NUMBERS,
    "platform.secure_boot": Kind.TEXT,
    **{
        f"trust.{name}": Kind.NUMBERS if fact.kind == "number" else Kind.WORDS
        for name, fact in FACTS.items()
        if fact.profile
    },
}
GROUPS = frozenset(key.partition(".")[0] for key in SETTINGS if "." in key)
_ITEMS = {Kind.WORDS: "text", Kind.NUMBERS: "whole numbers", Kind.COUNTS: "whole numbers or ranges such as `1-4`"}
SCALARS = frozenset({Kind.TEXT, Kind.FLAG, Kind.NUMBER})

Item = str | int
Value = str | int | bool | tuple[Item, ...] | dict[str, str]
"""What a setting holds: a scalar, a list, or states by unit."""


class Op(StrEnum):
    """What an edit does."""

    SET = "="
    APPEND = "+"
    REMOVE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change of one setting."""

    key: str
    op: Op
    value: Value
    """The whole value for SET; one item for APPEND and REMOVE; one entry for a setting of states."""
    place: Place
    item_places: tuple[Place, ...] = ()
    """Where each item of a list that is set stands."""

    @property
    def what(self) -> str:
        """Return the edit as a plan's origins show it: ``= value``, ``+ item`` or ``- item``."""
        return f"{self.op} {show(self.value)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """What one layer says about settings."""

    layer: str
    """As :class:`podvm_builder.model.plan.Origin` names it, e.g. ``cloud aws``."""
    edits: tuple[Edit, ...]


def show(value: Value) -> str:
    """Return a value as YAML would write it, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {state}" for name, state in value.items())
    return str(value) if value != "" else '""'


def parse_counts(value: str | int) -> tuple[int, ...]:
    """Return the numbers that ``4``, ``1-4`` or ``1,2,8-16`` stand for.

    Raises:
        ValueError: it is not of that form, or a range is empty or has more than 4096 numbers.
    """
    if isinstance(value, int):
        return (value,)
    numbers: list[int] = []
    for part in value.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else True)) or len(part) > 20:
            raise ValueError(f"`{value}` is neither a number nor a range such as `1-4`")
        low, high = int(first), int(last) if dash else int(first)
        if not low <= high < low + 4096:
            raise ValueError(f"`{part.strip()}` is an empty or too long range")
        numbers.extend(range(low, high + 1))
    return tuple(numbers)


def settings_in(root: MapNode) -> Iterator[tuple[str, Node]]:
    """Return the settings that a mapping gives, in the order of the file; keys that are no settings are passed over."""
    for name, node in root.entries:
        if name.text in SETTINGS:
            yield name.text, node
        elif name.text in GROUPS and isinstance(node, MapNode):
            for child, value in node.entries:
                if f"{name.text}.{child.text}" in SETTINGS:
                    yield f"{name.text}.{child.text}", value


def edits_of(key: str, node: Node, document: Document) -> Iterator[Edit]:
    """Return the edits that one setting's value makes.

    Raises:
        InputError: the value is not of the setting's kind (PVB104), or is no range of numbers (PVB117).
    """
    kind = SETTINGS[key]
    if kind is Kind.STATES:
        for unit, state in node.entries if isinstance(node, MapNode) else ():
            yield Edit(key=key, op=Op.APPEND, value={unit.text: str(plain(state))}, place=document.place(unit.spot))
    elif kind in SCALARS:
        value = node.value if isinstance(node, ScalarNode) else None
        if value is None or isinstance(value, float):
            raise InputError(f"`{key}` must be a single value", code="PVB104", place=document.place(node.spot))
        yield Edit(key=key, op=Op.SET, value=value, place=document.place(node.spot))
    elif isinstance(node, MapNode):
        for word, op in (("remove", Op.REMOVE), ("append", Op.APPEND)):
            items = node.get(word)
            if items is not None:
                yield from _item_edits(key, op, items, document)
    else:
        located = [(item, document.place(one.spot)) for one in _nodes(node) for item in _items(key, one, document)]
        yield Edit(
            key=key,
            op=Op.SET,
            value=tuple(item for item, _ in located),
            place=document.place(node.spot),
            item_places=tuple(place for _, place in located),
        )


def _item_edits(key: str, op: Op, items: Node, document: Document) -> Iterator[Edit]:
    for node in _nodes(items):
        for item in _items(key, node, document):
            yield Edit(key=key, op=op, value=item, place=document.place(node.spot))


def _nodes(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, ListNode) else (node,)


def _items(key: str, node: Node, document: Document) -> tuple[Item, ...]:
    kind = SETTINGS[key]
    value = node.value if isinstance(node, ScalarNode) else None
    if kind is Kind.COUNTS and isinstance(value, str | int) and not isinstance(value, bool):
        try:
            return parse_counts(value)
        except ValueError as error:
            raise InputError(str(error), code="PVB117", place=document.place(node.spot)) from None
    wanted = str if kind is Kind.WORDS else int
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise InputError(f"`{key}` must be a list of {_ITEMS[kind]}", code="PVB104", place=document.place(node.spot))
    return (value,)
