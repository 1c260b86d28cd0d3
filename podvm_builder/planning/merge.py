"""Merging fragments: later layers change what earlier ones said, and every value remembers who did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from podvm_builder.catalog.settings import SETTINGS, Edit, Fragment, Item, Kind, Op, Value, show
from podvm_builder.errors import InputError, Place
from podvm_builder.model.plan import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The settings after every layer has spoken."""

    values: Mapping[str, Value]
    origins: Mapping[str, tuple[Origin, ...]]
    places: Mapping[str, Place]
    """Where each setting was changed last."""

    def text(self, key: str) -> str:
        """Return a setting that holds text."""
        return str(self.values[key])

    def words(self, key: str) -> tuple[str, ...]:
        """Return a setting that holds a list of text."""
        value = self.values[key]
        return tuple(map(str, value)) if isinstance(value, tuple) else ()

    def numbers(self, key: str) -> tuple[int, ...]:
        """Return a setting that holds a list of numbers."""
        value = self.values[key]
        return tuple(item for item in value if isinstance(item, int)) if isinstance(value, tuple) else ()

    def number(self, key: str) -> int:
        """Return a setting that holds a number."""
        value = self.values[key]
        if not isinstance(value, int):
            raise TypeError(f"{key} holds no number")
        return value

    def states(self, key: str) -> dict[str, str]:
        """Return a setting that holds states by unit."""
        value = self.values[key]
        return dict(value) if isinstance(value, dict) else {}


def merge(fragments: Iterable[Fragment]) -> Merged:
    """Apply fragments in order.

    A scalar or a plain list replaces; an append adds what is not there yet at the end; a remove takes away.

    Raises:
        InputError: an item is removed that is not there (PVB112).
    """
    values: dict[str, Value] = {}
    origins: dict[str, list[Origin]] = {}
    places: dict[str, Place] = {}
    for fragment in fragments:
        for edit in fragment.edits:
            values[edit.key] = _apply(edit, values.get(edit.key))
            places[edit.key] = edit.place
            origins.setdefault(edit.key, []).append(origin_of(fragment.layer, edit))
    missing = SETTINGS.keys() - values.keys()
    if missing:
        raise ValueError(f"no layer sets {', '.join(sorted(missing))}")
    return Merged(values=values, origins={key: tuple(found) for key, found in origins.items()}, places=places)


def origin_of(layer: str, edit: Edit) -> Origin:
    """Return an edit as a plan remembers it."""
    place = edit.place
    on_command_line = place.file.startswith("--") or place.line is None
    return Origin(
        layer=layer, place="command line" if on_command_line else f"{place.file}:{place.line}", what=edit.what
    )


def _apply(edit: Edit, before: Value | None) -> Value:
    value = edit.value
    if SETTINGS[edit.key] is Kind.STATES:
        states = (dict(before) if isinstance(before, dict) else {}) | (value if isinstance(value, dict) else {})
        return {unit: state for unit, state in states.items() if state != "disable"}
    if edit.op is Op.SET:
        return tuple(dict.fromkeys(value)) if isinstance(value, tuple) else value
    items: tuple[Item, ...] = before if isinstance(before, tuple) else ()
    if not isinstance(value, str | int):
        raise TypeError(f"{edit.key}: an item is a single value")
    if edit.op is Op.APPEND:
        return items if value in items else (*items, value)
    if value not in items:
        raise _absent(edit, value, items)
    return tuple(item for item in items if item != value)


def _absent(edit: Edit, value: Item, items: tuple[Item, ...]) -> InputError:
    words = [str(item) for item in items]
    near = get_close_matches(str(value), words, n=1, cutoff=0.4)
    return InputError(
        f"`{value}` is not in `{edit.key}`, so it cannot be removed",
        code="PVB112",
        place=replace(edit.place, note=f"did you mean `{near[0]}`?" if near else None),
        hint=f"it holds {show(items)}" if len(words) <= 12 else f"`plan --explain {edit.key}` shows what it holds",
    )
