"""``--set PATH=VALUE``: a small part of a profile, given on the command line.

VALUE is YAML; ``PATH+=ITEM`` and ``PATH-=ITEM`` add to and take from a list. What it says goes through the same
checks as a profile, and comes last in the merge.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from podvm_builder.catalog.entries import Catalogue
from podvm_builder.catalog.yaml_nodes import Document, ListNode, MapNode, Node, ScalarNode, Spot
from podvm_builder.catalog.yaml_source import read_yaml
from podvm_builder.errors import InputError, InputErrors, Place
from podvm_builder.planning.profile import Parts, read_parts

FILE = "--set"
_SET = re.compile(r"(?P<path>[A-Za-z_][A-Za-z0-9_.@:\\-]*?)(?P<op>\+=|-=|=)(?P<value>.*)", re.DOTALL)


def parse_sets(texts: Sequence[str], catalogue: Catalogue) -> tuple[Parts, ...]:
    """Read every ``--set``.

    Raises:
        InputErrors: one is not of the form PATH=VALUE (PVB115), is not YAML, or sets what does not exist or
            cannot have the value.
    """
    parts: list[Parts] = []
    errors: list[InputError] = []
    for text in texts:
        try:
            parts.append(_parse(text, catalogue))
        except InputErrors as error:
            errors += error.errors
        except InputError as error:
            errors.append(error)
    if errors:
        raise InputErrors(tuple(errors))
    return tuple(parts)


def _parse(text: str, catalogue: Catalogue) -> Parts:
    match = _SET.fullmatch(text)
    if match is None:
        raise InputError(
            f"`{text}` is not PATH=VALUE",
            code="PVB115",
            place=Place(file=FILE),
            hint="e.g. `--set platform.vcpus=[2,4]`, `--set kernel.cmdline+=quiet`",
        )
    path, op, value = match["path"], match["op"], match["value"]
    # blanks in front make the places in the value those of the whole text
    indent = "" if "\n" in value else " " * match.start("value")
    read = read_yaml(indent + value, file=FILE)
    node: Node = read.root
    if op != "=":
        verb = ScalarNode("append" if op == "+=" else "remove", "append" if op == "+=" else "remove", node.spot)
        items = node if isinstance(node, ListNode) else ListNode((node,), node.spot, node.weight)
        node = MapNode(((verb, items),), node.spot, items.weight)
    column = len(path) + 1
    for key in reversed(_keys(path)):
        column -= len(key) + 1
        name = ScalarNode(key, key, Spot(1, column + 1, len(key)))
        node = MapNode(((name, node),), name.spot, node.weight + 1)
    return read_parts(
        Document(file=FILE, lines=tuple(text.splitlines()), root=node, errors=read.errors), catalogue, whole=False
    )


def _keys(path: str) -> list[str]:
    first, dot, rest = path.partition(".")
    # the names of units have dots of their own
    return [first, rest] if dot and first == "units" else path.split(".")
