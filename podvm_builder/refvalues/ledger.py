"""The record of what verifiers were told: a chain of entries, each with the digest of the one before it.

An entry says what was done where, with which images and their values, so that it is known which images a verifier takes
without asking it, which it could not answer. Entries are documents of the schema ``podvm-refvalues-history/1``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from podvm_builder.errors import FormatError
from podvm_builder.refvalues.merge import Change

SCHEMA = "podvm-refvalues-history/1"
CODE = "PVB667"
PUSH = "push"
RETIRE = "retire"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredImage:
    """An image as a verifier was told of it."""

    target: str
    image: str
    """Identity of the image; empty where its measurements carry none."""
    values: Mapping[str, Any]
    """Its flat map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that was done."""

    number: int
    """From 1."""
    previous: str | None
    """SHA-256 of the entry before it as it is written, hex; None for the first."""
    time: str
    """UTC, ``2026-11-24T17:00:00Z``."""
    action: str
    """:data:`PUSH` or :data:`RETIRE`."""
    where: str
    images: tuple[RegisteredImage, ...]
    changes: tuple[tuple[str, tuple[Any, ...], tuple[Any, ...]], ...]
    """Name, values that came and values that went."""

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.number:06}-{self.action}.json"


def next_entry(
    chain: Sequence[bytes],
    *,
    time: str,
    action: str,
    where: str,
    images: Sequence[RegisteredImage],
    changes: Sequence[Change],
) -> Entry:
    """Return the entry that follows a chain."""
    return Entry(
        number=len(chain) + 1,
        previous=hashlib.sha256(chain[-1]).hexdigest() if chain else None,
        time=time,
        action=action,
        where=where,
        images=tuple(images),
        changes=tuple((one.name, one.added, one.removed) for one in changes if one.is_change),
    )


def encode_entry(entry: Entry) -> bytes:
    """Return an entry as it is written."""
    value = {
        "schema": SCHEMA,
        "number": entry.number,
        "previous": entry.previous,
        "time": entry.time,
        "action": entry.action,
        "where": entry.where,
        "images": [{"target": one.target, "image": one.image, "values": dict(one.values)} for one in entry.images],
        "changes": [
            {"name": name, "added": list(added), "removed": list(removed)} for name, added, removed in entry.changes
        ],
    }
    return (json.dumps(value, indent=2, ensure_ascii=True) + "\n").encode("ascii")


def decode_chain(chain: Sequence[bytes]) -> tuple[Entry, ...]:
    """Read entries in their order, and check that each follows the one before it.

    Raises:
        FormatError: PVB667, one is none, or is missing, or was changed after another followed it.
    """
    found: list[Entry] = []
    previous: str | None = None
    for index, data in enumerate(chain):
        entry = _entry(data, f"entry {index + 1}")
        if entry.number != index + 1 or entry.previous != previous:
            raise FormatError(
                f"history: entry {index + 1} does not follow the one before it: an entry is missing or was changed",
                code=CODE,
                hint="take the history as it was kept; entries are never edited",
            )
        found.append(entry)
        previous = hashlib.sha256(data).hexdigest()
    return tuple(found)


def active_images(entries: Sequence[Entry], where: str) -> tuple[RegisteredImage, ...]:
    """Return the images that a verifier was told of and that were not retired since, in the order of their coming."""
    found: dict[str, RegisteredImage] = {}
    for entry in entries:
        if entry.where != where:
            continue
        for one in entry.images:
            found.pop(_key(one), None)
            if entry.action == PUSH:
                found[_key(one)] = one
    return tuple(found.values())


def same_image(one: RegisteredImage, other: RegisteredImage) -> bool:
    """Say whether two entries are about one image, which may have been measured anew."""
    return _key(one) == _key(other)


def _key(image: RegisteredImage) -> str:
    # an image that was measured anew, for more vCPU counts say, is the same image
    return image.image or json.dumps(dict(image.values), sort_keys=True)


def _entry(data: bytes, what: str) -> Entry:
    try:
        value = json.loads(data)
        if value["schema"] != SCHEMA or value["action"] not in (PUSH, RETIRE):
            raise ValueError("another schema or action")
        entry = Entry(
            number=_of(value["number"], int),
            previous=None if value["previous"] is None else _of(value["previous"], str),
            time=_of(value["time"], str),
            action=value["action"],
            where=_of(value["where"], str),
            images=tuple(
                RegisteredImage(
                    target=_of(one["target"], str), image=_of(one["image"], str), values=dict(one["values"])
                )
                for one in value["images"]
            ),
            changes=tuple(
                (_of(one["name"], str), tuple(one["added"]), tuple(one["removed"])) for one in value["changes"]
            ),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"history: {what} is none: {error}", code=CODE) from error
    return entry


def _of(value: Any, kind: type[_T]) -> _T:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"`{value}` is not of its kind")
    return value
