"""Several images under one set of names: what a verifier must hold so that each passes, and what goes when one goes.

Trustee keeps one value a name and overwrites it, so what is registered is always the whole: a list is the union of the
images' lists, and a scalar, which the policy compares by equality, can only be one. Nothing here talks to anybody.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podvm_builder.errors import Finding

CONFLICT = "PVB651"

Json = Any
"""A JSON value as :mod:`json` reads it; lists are membership, all else is equality."""


class _Absent:
    """What stands where a name is not registered; null is a value."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One name before and after."""

    name: str
    before: Json
    """:data:`ABSENT` where the name is not registered."""
    after: Json
    """:data:`ABSENT` where it is not registered and stays so."""

    @property
    def is_change(self) -> bool:
        """Whether something must be written."""
        return not same(self.before, self.after)

    @property
    def added(self) -> tuple[Json, ...]:
        """The values that pass afterwards and did not before."""
        return _without(_items(self.after), _items(self.before))

    @property
    def removed(self) -> tuple[Json, ...]:
        """The values that passed before and do not afterwards."""
        return _without(_items(self.before), _items(self.after))


def combine(images: Sequence[tuple[str, Mapping[str, Json]]]) -> dict[str, Json]:
    """Return one flat map with which each of several images passes.

    Args:
        images: what messages call each image, and its own flat map.

    Raises:
        Finding: PVB651, two images need different scalars under one name, or one a scalar and the other a list.
    """
    combined: dict[str, Json] = {}
    whose: dict[str, str] = {}
    for label, values in images:
        for name, value in values.items():
            if name not in combined:
                combined[name] = list(value) if isinstance(value, list) else value
                whose[name] = label
                continue
            joined = _join(combined[name], value)
            if joined is ABSENT:
                raise _conflict(
                    name,
                    f"`{whose[name]}` needs {_said(combined[name])} and `{label}` needs {_said(value)}",
                    hint="register them with two verifiers, or bring the machines to one value",
                )
            combined[name] = joined
    return combined


def join(images: Iterable[tuple[str, Mapping[str, Json]]]) -> dict[str, list[Json]]:
    """Return every value that one of several images needs, by name, whatever its kind."""
    joined: dict[str, list[Json]] = {}
    for _, values in images:
        for name, value in values.items():
            joined[name] = [*joined.get(name, ()), *_items(value)]
    return joined


def plan_push(
    stored: Mapping[str, Json], wanted: Mapping[str, Json], *, replace: Collection[str] = ()
) -> tuple[Change, ...]:
    """Return what becomes of each wanted name; values that others registered in a list stay.

    Args:
        stored: the names that are registered, of those that are wanted.
        wanted: what must pass.
        replace: names whose stored value is overwritten, whatever it is.

    Raises:
        Finding: PVB651, another scalar is registered, or a value of the other kind.
    """
    changes = []
    for name, value in wanted.items():
        before = stored.get(name, ABSENT)
        after = value if before is ABSENT or name in replace else _join(before, value)
        if after is ABSENT:
            raise _conflict(
                name,
                f"{_said(before)} is registered and {_said(value)} is needed",
                hint=f"other images may need what is there; `--replace {name}` overwrites it",
            )
        changes.append(Change(name=name, before=before, after=after))
    return tuple(changes)


def plan_retire(stored: Mapping[str, Json], gone: Mapping[str, Json], kept: Mapping[str, Json]) -> tuple[Change, ...]:
    """Return what becomes of each name of an image that is to pass no longer.

    Only lists are rewritten: a scalar cannot be taken back, because no value of its kind says "none". A list may end up
    empty, and then nothing passes.

    Args:
        stored: the names that are registered, of those of ``gone``.
        gone: the values that identify the image.
        kept: the flat map of the images that stay; their values are not touched.
    """
    changes = []
    for name, value in gone.items():
        before = stored.get(name, ABSENT)
        after = before
        if isinstance(before, list) and isinstance(value, list):
            stays = kept.get(name, [])
            doomed = _without(value, stays if isinstance(stays, list) else ())
            after = list(_without(before, doomed))
        changes.append(Change(name=name, before=before, after=after))
    return tuple(changes)


def same(one: Json, other: Json) -> bool:
    """Say whether two JSON values are equal, types and all; the order of a list does not matter to a policy."""
    if one is ABSENT or other is ABSENT:
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return sorted(map(_key, one)) == sorted(map(_key, other))
    return _key(one) == _key(other)


def _join(one: Json, other: Json) -> Json:
    """Return the value that serves both, :data:`ABSENT` where none does."""
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *_without(other, one)]
    return one if same(one, other) else ABSENT


def _items(value: Json) -> tuple[Json, ...]:
    if value is ABSENT:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)


def _without(values: Iterable[Json], those: Iterable[Json]) -> tuple[Json, ...]:
    """Return values that are not among those, each once, in order."""
    seen = {_key(one) for one in those}
    kept = []
    for value in values:
        if (key := _key(value)) not in seen:
            seen.add(key)
            kept.append(value)
    return tuple(kept)


def _key(value: Json) -> str:
    # `True == 1` in Python and never in a policy
    return json.dumps(value, sort_keys=True)


def _said(value: Json) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else f"`{json.dumps(value)}` alone"


def _conflict(name: str, what: str, *, hint: str) -> Finding:
    return Finding(f"`{name}` can hold one value at a time: {what}", code=CONFLICT, hint=hint)
