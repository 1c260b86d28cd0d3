"""What Trustee stores: records and the files that hold them, as each version writes and reads them.

=============  ====================================================================================
0.12, 0.13     ``{"version", "name", "expiration", "hash-value": [{"alg", "value"}]}``
0.14 on        ``{"version", "name", "expiration", "value"}``, the value any JSON
=============  ====================================================================================

``LocalJson`` was one array of records up to 0.18; from 0.19 on it is an object of name to the base64 of a record.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from podvm_builder.formats.json_names import once
from podvm_builder.model.refvalue import ReferenceValues
from podvm_builder.refvalues.registry import MAX_DOCUMENT, TIME, FlatMap, wrong
from podvm_builder.refvalues.versions import Version

VERSION = "0.1.0"
"""Trustee's ``MESSAGE_VERSION`` and ``REFERENCE_VALUE_VERSION``, the same in every release."""
TYPED_SINCE: Version = (0, 14)
KEYED_SINCE: Version = (0, 19)


def flat_map(values: ReferenceValues) -> FlatMap:
    """Return name to value with the JSON types that the policy compares: arrays for membership, else scalars."""
    return {one.name: list(one.value) if isinstance(one.value, tuple) else one.value for one in values.values}


def record(name: str, value: object, *, expiration: str, version: Version) -> dict[str, Any]:
    """Return the stored record of one value."""
    head = {"version": VERSION, "name": name, "expiration": expiration}
    if version >= TYPED_SINCE:
        return {**head, "value": value}
    items = value if isinstance(value, list) else [value]
    return {**head, "hash-value": [{"alg": "sha384", "value": item} for item in items]}


def records(values: ReferenceValues, *, expiration: str, version: Version) -> list[dict[str, Any]]:
    """Return the stored records of all values."""
    return [record(name, value, expiration=expiration, version=version) for name, value in flat_map(values).items()]


def local_json(values: ReferenceValues, *, expiration: str, version: Version) -> bytes:
    """Return the content of the file of Trustee's ``LocalJson`` storage."""
    found = records(values, expiration=expiration, version=version)
    if version < KEYED_SINCE:
        return dump(found, indent=2)
    # the URL-safe alphabet with padding. The alphabets differ only where a group of three bytes ends in `>`, `?`, `~`
    # or DEL, which no record has, so a reader of the standard alphabet is served as well
    return dump({one["name"]: base64.urlsafe_b64encode(dump(one)).decode("ascii") for one in found}, indent=2)


def read_record(value: object, what: str) -> tuple[str, object]:
    """Read a record of any version, and return its name and value.

    Raises:
        FormatError: a record that Trustee would not read (PVB607).
    """
    top = as_object(value, what)
    if top.get("version", VERSION) != VERSION:
        raise wrong(f"{what}: version `{top['version']}`, not `{VERSION}`")
    name = top.get("name")
    if not isinstance(name, str):
        raise wrong(f"{what}: the record has no name")
    try:
        datetime.strptime(str(top.get("expiration")), TIME)
    except ValueError as error:
        raise wrong(f"{what}: expiration: {error}") from error
    if "hash-value" in top:
        pairs = top["hash-value"]
        if not isinstance(pairs, list) or not all(
            isinstance(pair, dict) and isinstance(pair.get("value"), str) for pair in pairs
        ):
            raise wrong(f"{what}: `hash-value` is not a list of objects with a text as `value`")
        return name, [pair["value"] for pair in pairs]
    if "value" not in top:
        raise wrong(f"{what}: the record has no value")
    return name, top["value"]


def read_array(data: bytes, what: str) -> FlatMap:
    """Read an array of records.

    Raises:
        FormatError: not such an array, or a name that stands there twice (PVB607).
    """
    value = parse_json(data, what)
    if not isinstance(value, list):
        raise wrong(f"{what}: not a list of records")
    found: FlatMap = {}
    for index, item in enumerate(value):
        name, one = read_record(item, f"{what}: record {index}")
        if name in found:
            raise wrong(f"{what}: `{name}` stands there twice; Trustee keeps the last")
        found[name] = one
    return found


def read_keyed(data: bytes, what: str) -> FlatMap:
    """Read an object of name to the base64 of a record.

    Raises:
        FormatError: not such an object, or a record that names itself otherwise (PVB607).
    """
    found: FlatMap = {}
    for key, text in as_object(parse_json(data, what), what).items():
        at = f"{what}: `{key}`"
        name, value = read_record(parse_json(from_base64(text, at, b"-_"), at), at)
        if name != key:
            raise wrong(f"{at}: the record names itself `{name}`")
        found[key] = value
    return found


def read_local_json(data: bytes) -> FlatMap:
    """Read the file of Trustee's ``LocalJson`` storage, of any version.

    Raises:
        FormatError: PVB607.
    """
    value = parse_json(data, "local-json")
    return read_array(data, "local-json") if isinstance(value, list) else read_keyed(data, "local-json")


def dump(value: object, indent: int | None = None) -> bytes:
    """Return JSON in ASCII: indented with a line end, or without any space."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=True)
    return (text + ("" if indent is None else "\n")).encode("ascii")


def parse_json(data: bytes, what: str) -> object:
    """Read JSON that can be written again.

    Raises:
        FormatError: too large, not JSON, a name that stands twice, or a document of ours that is no reference value
            (PVB607).
    """
    bounded(data, what)
    try:
        value: object = json.loads(data, parse_constant=_no_constant, object_pairs_hook=once)
        # what could not be written again: an escaped half of a surrogate pair, a number beyond the largest
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise wrong(f"{what}: not JSON: {error}") from error
    if isinstance(value, dict) and str(value.get("schema", "")).startswith("podvm-"):
        raise wrong(f"{what}: this is a `{value['schema']}` document; `refvalues export` makes values of it")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def bounded(data: bytes, what: str) -> None:
    """Refuse a document that is too large.

    Raises:
        FormatError: PVB607.
    """
    if len(data) > MAX_DOCUMENT:
        raise wrong(f"{what}: larger than {MAX_DOCUMENT} bytes")


def from_base64(text: object, what: str, altchars: bytes) -> bytes:
    """Read padded base64 whose last two digits are ``altchars``.

    Raises:
        FormatError: PVB607.
    """
    if not isinstance(text, str):
        raise wrong(f"{what}: not a text")
    try:
        return base64.b64decode(text, altchars=altchars, validate=True)
    except (binascii.Error, ValueError) as error:
        raise wrong(f"{what}: not base64: {error}") from error


def as_object(value: object, what: str) -> Mapping[str, Any]:
    """Return a JSON object.

    Raises:
        FormatError: it is none (PVB607).
    """
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise wrong(f"{what}: not an object")
    return value
