"""The exported forms read back, as strictly as Trustee reads them: name to JSON value."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from podvm_builder.errors import FormatError
from podvm_builder.refvalues.exporters import VERSION

MAX_DOCUMENT = 8 << 20
"""Bytes. A Kubernetes object holds 1 MiB at most; a flat map of 2,048 launch digests is 0.2 MB."""

FlatMap = dict[str, Any]


def read_rvps_sample(data: bytes) -> FlatMap:
    """Read the flat map.

    Raises:
        FormatError: not a JSON object, or too large (PVB607).
    """
    return dict(_object(_parse_json(data, "rvps-sample"), "rvps-sample"))


def read_rvps_message(data: bytes) -> FlatMap:
    """Read the registration message and its payload.

    Raises:
        FormatError: not a ``sample`` message of the known version, or a payload that is not the standard, padded
            base64 of a flat map (PVB607).
    """
    message = _object(_parse_json(data, "rvps-message"), "rvps-message")
    if message.get("version", VERSION) != VERSION:
        raise _wrong(f"rvps-message: version `{message['version']}`, not `{VERSION}`")
    if message.get("type") != "sample":
        raise _wrong(f"rvps-message: type `{message.get('type')}`, not `sample`")
    return read_rvps_sample(_base64(message.get("payload"), "rvps-message: payload", b"+/"))


def read_operator_configmap(data: bytes) -> FlatMap:
    """Read the operator's ConfigMap and its records.

    Raises:
        FormatError: not a ConfigMap with one key ``reference_value``, or a record that Trustee would not read
            (PVB607).
    """
    import yaml

    _bounded(data, "operator-configmap")
    try:
        manifest = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _wrong(f"operator-configmap: not YAML: {error}") from error
    top = _object(manifest, "operator-configmap")
    if (top.get("apiVersion"), top.get("kind")) != ("v1", "ConfigMap"):
        raise _wrong("operator-configmap: not a ConfigMap of apiVersion v1")
    content = _object(top.get("data"), "operator-configmap: data").get("reference_value")
    if not isinstance(content, str):
        raise _wrong("operator-configmap: `reference_value` is not a text")
    stored = _object(_parse_json(content.encode(), "reference_value"), "reference_value")
    return {name: _record(name, text) for name, text in stored.items()}


READERS: dict[str, Callable[[bytes], FlatMap]] = {
    "rvps-sample": read_rvps_sample,
    "rvps-message": read_rvps_message,
    "operator-configmap": read_operator_configmap,
}


def read_any(data: bytes) -> tuple[str, FlatMap]:
    """Read an exported file of any form, and return the form's name with the values.

    Raises:
        FormatError: the bytes are of none of the forms (PVB607).
    """
    _bounded(data, "reference values")
    form = _form(data)
    return form, READERS[form](data)


def _form(data: bytes) -> str:
    try:
        top = json.loads(data)
    except (ValueError, RecursionError):
        return "operator-configmap"
    if isinstance(top, dict) and top.get("kind") == "ConfigMap":
        return "operator-configmap"
    return "rvps-message" if isinstance(top, dict) and {"type", "payload"} <= top.keys() else "rvps-sample"


def _record(name: str, text: object) -> Any:
    what = f"reference_value: `{name}`"
    record = _object(_parse_json(_base64(text, what, b"-_"), what), what)
    if record.get("version", VERSION) != VERSION:
        raise _wrong(f"{what}: version `{record['version']}`, not `{VERSION}`")
    if record.get("name") != name:
        raise _wrong(f"{what}: the record names itself `{record.get('name')}`")
    if "value" not in record:
        raise _wrong(f"{what}: the record has no value")
    try:
        datetime.strptime(str(record.get("expiration")), "%Y-%m-%dT%H:%M:%SZ")
    except ValueError as error:
        raise _wrong(f"{what}: expiration: {error}") from error
    return record["value"]


def _parse_json(data: bytes, what: str) -> object:
    _bounded(data, what)
    try:
        value: object = json.loads(data, parse_constant=_no_constant)
        # what could not be written again: an escaped half of a surrogate pair, a number beyond the largest
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise _wrong(f"{what}: not JSON: {error}") from error
    if isinstance(value, dict) and str(value.get("schema", "")).startswith("podvm-"):
        raise _wrong(f"{what}: this is a `{value['schema']}` document; `refvalues export` makes values of it")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _bounded(data: bytes, what: str) -> None:
    if len(data) > MAX_DOCUMENT:
        raise _wrong(f"{what}: larger than {MAX_DOCUMENT} bytes")


def _base64(text: object, what: str, altchars: bytes) -> bytes:
    if not isinstance(text, str):
        raise _wrong(f"{what}: not a text")
    try:
        return base64.b64decode(text, altchars=altchars, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _wrong(f"{what}: not base64: {error}") from error


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _wrong(f"{what}: not an object")
    return value


def _wrong(message: str) -> FormatError:
    return FormatError(message, code="PVB607")
