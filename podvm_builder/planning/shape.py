"""The shape of a YAML document: what pydantic finds, told with its place and a suggestion."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from podvm_builder.catalog.yaml_nodes import Document, ListNode, MapNode, Node, ScalarNode, Spot, plain
from podvm_builder.errors import InputError
from podvm_builder.planning.model import ProfileDocument

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "`true` or `false`",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "too_short": "a list with at least one item",
    "greater_than_equal": "a whole number that is not negative",
}
_TAGS = {
    "one": "a single value",
    "list": "a list",
    "edit": "a mapping with `append` and `remove`",
    "number": "a whole number",
    "text": "text",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a document must look like."""

    model: type[BaseModel]
    what: str
    """What the document is called, in the plural."""
    schema: str
    """The value of its key ``schema``."""
    missing: Mapping[str, str]
    """What to do where a key is missing."""
    groups: tuple[str, ...]
    """Keys whose own keys are suggested where one of them stands in the wrong place."""


PROFILE = Shape(
    model=ProfileDocument,
    what="profiles",
    schema="1",
    missing={
        "schema": "begin the profile with `schema: 1`",
        "distro": "add e.g. `distro: debian-13`; `podvm-build list distros` shows them",
        "tee": "add e.g. `tee: snp`; `podvm-build list tees` shows them",
        "cloud": "add e.g. `cloud: libvirt`; `podvm-build list clouds` shows them",
    },
    groups=("kernel", "image", "measure", "guest", "platform", "trust"),
)


def shape_errors(document: Document, root: MapNode, *, whole: bool, shape: Shape = PROFILE) -> list[InputError]:
    """Return what is wrong with the keys and types of a document.

    Args:
        document: where ``root`` came from.
        root: the document's mapping, or that of a part of one.
        whole: whether keys that a document must have are missed.
        shape: what is expected.
    """
    try:
        shape.model.model_validate(plain(root))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
    else:
        return []
    return [
        _error(document, root, detail, shape)
        for detail in found
        if whole or detail["type"] != "missing" or len(detail["loc"]) > 1
    ]


def _error(document: Document, root: MapNode, detail: Mapping[str, Any], shape: Shape) -> InputError:
    keys, node, spot, key_spot = _walk(root, detail["loc"])
    kind, context = detail["type"], detail.get("ctx", {})
    name = ".".join(keys)
    if kind == "missing":
        return _missing(document, keys, spot, str(detail["loc"][-1]), shape)
    if kind == "extra_forbidden":
        return _unknown_key(document, keys, key_spot, shape)
    note = None
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", context["expected"]) or [context["expected"]]
        wanted = _either([f"`{word}`" for word in words])
        note = _did_you_mean(get_close_matches(str(_shown(node)), words, n=1))
        if name == "schema":
            return InputError(
                f"`schema` must be `{shape.schema}`, not {_describe(node)}",
                code="PVB105",
                place=document.place(spot),
                hint=f"this release reads {shape.what} of schema {shape.schema}",
            )
    elif kind == "union_tag_invalid":
        wanted = _either([_TAGS[tag] for tag in re.findall(r"'([^']*)'", context["expected_tags"])])
    else:
        wanted = _EXPECTED.get(kind, detail["msg"])
    return InputError(
        f"`{name}` must be {wanted}, not {_describe(node)}", code="PVB104", place=document.place(spot, note)
    )


def _walk(root: MapNode, loc: tuple[str | int, ...]) -> tuple[list[str], Node, Spot, Spot]:
    """Follow a location of pydantic's, in which the tags of unions stand between keys and indices.

    Returns:
        The keys passed, the node found, the spot to blame for its value and that of its key.
    """
    node: Node = root
    spot = key_spot = root.spot
    keys: list[str] = []
    for part in loc:
        if isinstance(node, ListNode) and isinstance(part, int):
            node = node.items[part]
            spot = node.spot
        elif isinstance(node, MapNode) and (child := node.get(str(part))) is not None:
            key = node.key(str(part))
            keys.append(str(part))
            node = child
            key_spot = key.spot if key is not None else child.spot
            # the underline of a list or mapping would be its first character: its key says more
            spot = child.spot if isinstance(child, ScalarNode) else key_spot
    return keys, node, spot, key_spot


def _missing(document: Document, keys: list[str], spot: Spot, key: str, shape: Shape) -> InputError:
    where = f" in `{'.'.join(keys)}`" if keys else ""
    # a key that is not there has no place of its own: the group's, or the document's
    place = document.place(spot if keys else Spot(spot.line, 1, 1))
    hint = None if keys else shape.missing.get(key)
    return InputError(f"`{key}` is missing{where}", code="PVB105", place=place, hint=hint)


def _unknown_key(document: Document, keys: list[str], spot: Spot, shape: Shape) -> InputError:
    parent, key = keys[:-1], keys[-1]
    near = get_close_matches(key, _children(parent, shape), n=1) or [
        path for path in _paths(shape) if path.rpartition(".")[2] == key
    ]
    known = ", ".join(_children(parent, shape))
    where = f" in `{'.'.join(parent)}`" if parent else ""
    return InputError(
        f"unknown key `{key}`{where}",
        code="PVB103",
        place=document.place(spot, _did_you_mean(near)),
        hint=None if near else f"known keys: {known}",
    )


def _children(parent: list[str], shape: Shape) -> list[str]:
    model: type[BaseModel] | None = shape.model
    for key in parent:
        field = _fields(model).get(key)
        model = next(_models(field.annotation), None) if field else model
    return list(_fields(model))


def _fields(model: type[BaseModel] | None) -> dict[str, FieldInfo]:
    """Return the fields of a model by their keys."""
    return {field.alias or name: field for name, field in model.model_fields.items()} if model else {}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _paths(shape: Shape) -> list[str]:
    return [f"{group}.{key}" for group in shape.groups for key in _children([group], shape)]


def _did_you_mean(near: list[str]) -> str | None:
    return f"did you mean `{near[0]}`?" if near else None


def _shown(node: Node) -> str:
    return node.text if isinstance(node, ScalarNode) else ""


def _describe(node: Node) -> str:
    if isinstance(node, ListNode):
        return "a list" if node.items else "an empty list"
    if isinstance(node, MapNode):
        return "a mapping"
    if isinstance(node.value, str):
        text = node.text if len(node.text) <= 60 else f"{node.text[:60]}…"
        return f"`{text}`" if text else "empty text"
    return f"the {'truth value' if isinstance(node.value, bool) else 'number'} `{node.text}`"


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
