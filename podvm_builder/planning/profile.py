"""A profile: YAML text in, checked and located values out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from podvm_builder.catalog.entries import Catalogue
from podvm_builder.catalog.load import catalogue as own_catalogue
from podvm_builder.catalog.settings import Edit, edits_of, settings_in
from podvm_builder.catalog.yaml_nodes import Document, ListNode, MapNode, Node, ScalarNode
from podvm_builder.catalog.yaml_source import read_yaml
from podvm_builder.errors import InputError, InputErrors, Place
from podvm_builder.model.axes import DEFAULT_ARCH, VARIANTS, Target
from podvm_builder.model.lint import Suppression
from podvm_builder.planning import rules
from podvm_builder.planning.suppress import suppression_errors, suppressions

AXES = ("distro", "tee", "cloud", "arch", "variant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One name on an axis, and where it was chosen."""

    name: str
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """Combinations to leave out: those whose every axis here holds one of the names."""

    wanted: Mapping[str, tuple[str, ...]]
    place: Place

    def matches(self, target: Target) -> bool:
        """Return whether the target is to be left out."""
        return all(getattr(target, axis) in names for axis, names in self.wanted.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a profile asks for; a target is a profile of one combination and no changes."""

    name: str | None
    """None for a target, which goes by its own name."""
    file: str | None
    """The file that it came from; None for a target."""
    axes: Mapping[str, tuple[Choice, ...]]
    """Distribution, TEE, cloud, architecture and variant, each with at least one choice."""
    features: tuple[str, ...]
    exclude: tuple[Exclusion, ...]
    edits: tuple[Edit, ...]
    suppressions: tuple[Suppression, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a document gives of a profile; None for what it is silent about."""

    name: str | None
    axes: Mapping[str, tuple[Choice, ...]]
    features: tuple[str, ...] | None
    exclude: tuple[Exclusion, ...] | None
    edits: tuple[Edit, ...]
    suppressions: tuple[Suppression, ...] | None


def parse_profile(text: str, *, file: str, catalogue: Catalogue | None = None) -> Profile:
    """Read a profile.

    Args:
        text: YAML.
        file: its name, for messages and for the profile's name where it gives none.
        catalogue: what names may be used; the program's own by default.

    Raises:
        InputError: the text is not YAML, or not YAML that is read here (PVB106, PVB109, PVB110).
        InputErrors: every other mistake found, in the order of the file.
    """
    parts = read_parts(read_yaml(text, file=file), catalogue or own_catalogue(), whole=True)
    here = Place(file=file)
    defaults = {"arch": (DEFAULT_ARCH,), "variant": (VARIANTS[0],)}
    return Profile(
        name=parts.name or _name_of(file),
        file=file,
        axes={
            axis: parts.axes.get(axis) or tuple(Choice(name=name, place=here) for name in defaults[axis])
            for axis in AXES
        },
        features=parts.features or (),
        exclude=parts.exclude or (),
        edits=parts.edits,
        suppressions=parts.suppressions or (),
    )


def profile_of(target: Target) -> Profile:
    """Return the profile that asks for one target as the catalogue has it."""
    here = Place(file="command line")
    return Profile(
        name=None,
        file=None,
        axes={axis: (Choice(name=getattr(target, axis), place=here),) for axis in AXES},
        features=target.features,
        exclude=(),
        edits=(),
    )


def read_parts(document: Document, catalogue: Catalogue, *, whole: bool) -> Parts:
    """Check a document and take it apart.

    Args:
        document: a profile, or with ``whole`` false a part of one, such as a ``--set`` makes.
        catalogue: what names may be used.
        whole: whether keys that a profile must have are missed.

    Raises:
        InputErrors: every mistake found, in the order of the document.
    """
    from podvm_builder.planning.shape import shape_errors  # pydantic: only when there is YAML

    root = document.root
    if not isinstance(root, MapNode):
        place = document.place(root.spot)
        raise InputErrors((InputError("a profile is a mapping of keys to values", code="PVB104", place=place),))
    edits, edit_errors = _edits(root, document)
    found = _first_by_place(
        [
            *document.errors,
            *_without_value(root, document),
            *shape_errors(document, root, whole=whole),
            *_name_errors(root, document, catalogue),
            *edit_errors,
            *suppression_errors(root, document),
            *(error for edit in edits for error in rules.check_edit(edit, catalogue)),
        ]
    )
    if found:
        raise InputErrors(found)
    name = root.get("name")
    features = {choice.name for choice in _choices(root.get("features"), document)}
    return Parts(
        name=name.text if isinstance(name, ScalarNode) else None,
        axes={axis: _choices(root.get(axis), document) for axis in AXES if root.has(axis)},
        features=tuple(sorted(features)) if root.has("features") else None,
        exclude=tuple(_exclusions(root, document)) if root.has("exclude") else None,
        edits=edits,
        suppressions=suppressions(root) if root.has("lint") else None,
    )


def _edits(root: MapNode, document: Document) -> tuple[tuple[Edit, ...], list[InputError]]:
    edits: list[Edit] = []
    errors: list[InputError] = []
    for key, node in settings_in(root):
        if isinstance(node, ScalarNode) and node.value is None:
            continue  # told by `_without_value`
        try:
            edits += edits_of(key, node, document)
        except InputError as error:
            if error.code != "PVB104":  # wrong types are told by `shape_errors`, and better
                errors.append(error)
    return tuple(edits), errors


def _name_errors(root: MapNode, document: Document, catalogue: Catalogue) -> Iterator[InputError]:
    """Find names that the catalogue does not have, and a profile's name that cannot be one."""
    rows = [root, *(row for row in root.nodes("exclude") if isinstance(row, MapNode))]
    for row in rows:
        for axis in (*AXES, "features"):
            for choice in _choices(row.get(axis), document):
                error = rules.unknown_name(axis, choice.name, choice.place, catalogue)
                if error is not None:
                    yield error
        if not row.entries and row is not root:
            yield InputError(
                "an exclusion names no axis",
                code="PVB117",
                place=document.place(row.spot),
                hint="e.g. `{tee: tdx, cloud: aws}`",
            )
    name = root.get("name")
    if isinstance(name, ScalarNode) and isinstance(name.value, str):
        error = rules.check_name(name.value, document.place(name.spot))
        if error is not None:
            yield error


def _name_of(file: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", PurePath(file).stem.lower()).strip("-")[:63] or "profile"


def _without_value(node: Node, document: Document) -> Iterator[InputError]:
    for key, value in node.entries if isinstance(node, MapNode) else ():
        if isinstance(value, ScalarNode) and value.value is None:
            yield InputError(
                f"`{key.text}` has no value",
                code="PVB104",
                place=document.place(key.spot),
                hint='leave the key out, or write `""` for the empty text',
            )
        yield from _without_value(value, document)
    for item in node.items if isinstance(node, ListNode) else ():
        if isinstance(item, ScalarNode) and item.value is None:
            yield InputError("an item of a list has no value", code="PVB104", place=document.place(item.spot))
        yield from _without_value(item, document)


def _choices(node: Node | None, document: Document) -> tuple[Choice, ...]:
    nodes = node.items if isinstance(node, ListNode) else (node,)
    found = {
        one.value: Choice(name=one.value, place=document.place(one.spot))
        for one in reversed(nodes)
        if isinstance(one, ScalarNode) and isinstance(one.value, str)
    }
    return tuple(reversed(found.values()))


def _exclusions(root: MapNode, document: Document) -> Iterator[Exclusion]:
    for row in root.nodes("exclude"):
        if isinstance(row, MapNode):
            wanted = {axis: tuple(one.name for one in _choices(row.get(axis), document)) for axis in AXES}
            yield Exclusion(
                wanted={axis: names for axis, names in wanted.items() if names}, place=document.place(row.spot)
            )


def _first_by_place(errors: list[InputError]) -> tuple[InputError, ...]:
    """Keep the first error of each place, so that one mistake is told once, in the order of the document."""
    kept: dict[tuple[int, int, str], InputError] = {}
    for error in errors:
        line, column = (error.place.line or 0, error.place.column or 0) if error.place else (0, 0)
        # what is missing has no place of its own: each is told
        kept.setdefault((line, column, error.message if error.code == "PVB105" else ""), error)
    return tuple(kept[spot] for spot in sorted(kept))
