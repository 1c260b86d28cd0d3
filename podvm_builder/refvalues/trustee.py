"""Reference values in the forms that Trustee takes.

Equal values give equal bytes: there is no clock here, so what expires is said by the caller.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from podvm_builder.refvalues import records
from podvm_builder.refvalues.records import KEYED_SINCE, VERSION, dump, flat_map
from podvm_builder.refvalues.registry import OF_POLICY, ExportRequest, Files, FlatMap, Format, wrong
from podvm_builder.refvalues.uris import FORMAT as URIS

FOLDER = "reference_value"
"""Namespace of reference values in Trustee's key-value storage: a folder of ``LocalFs``, a file of ``LocalJson``."""
ARRAY_KEY, KEYED_KEY = "reference-values.json", "reference_value"
"""Keys of the operator's ConfigMap up to 0.18, and from 0.19 on."""
_SLASH = "\\x2F"
"""What ``LocalFs`` writes for a slash of a key, these four characters."""


def rvps_sample(request: ExportRequest) -> bytes:
    """Return the flat map ``{name: value}``, indented."""
    return dump(flat_map(request.values()), indent=2)


def rvps_message(request: ExportRequest) -> bytes:
    """Return the registration message of the request's values."""
    return registration_message(flat_map(request.values()))


def registration_message(values: FlatMap) -> bytes:
    """Return a registration message; its payload is a flat map in standard, padded base64."""
    payload = base64.b64encode(dump(values)).decode("ascii")
    return dump({"version": VERSION, "type": "sample", "payload": payload}, indent=2)


def rvps_records(request: ExportRequest) -> bytes:
    """Return the records that Trustee stores, an array."""
    values = request.values()
    return dump(records.records(values, expiration=request.options.expiration, version=request.version), indent=2)


def local_json(request: ExportRequest) -> bytes:
    """Return the file of the ``LocalJson`` storage."""
    return records.local_json(request.values(), expiration=request.options.expiration, version=request.version)


def local_fs(request: ExportRequest) -> Files:
    """Return the files of the ``LocalFs`` storage below its ``dir_path``."""
    found = records.records(request.values(), expiration=request.options.expiration, version=request.version)
    return {f"{FOLDER}/{one['name'].replace('/', _SLASH)}": dump(one) for one in found}


def operator_configmap(request: ExportRequest) -> bytes:
    """Return the manifest of the operator's ConfigMap; its one key is the file of the ``LocalJson`` storage."""
    options = request.options
    lines = [
        "apiVersion: v1",
        "kind: ConfigMap",
        "metadata:",
        f"  name: {_yaml_text(options.name)}",
        f"  namespace: {_yaml_text(options.namespace)}",
        "data:",
        f"  {KEYED_KEY if request.version >= KEYED_SINCE else ARRAY_KEY}: |",
        *(f"    {line}" for line in local_json(request).decode("ascii").splitlines()),
    ]
    return ("\n".join(lines) + "\n").encode("ascii")


def read_rvps_sample(data: bytes) -> FlatMap:
    """Read the flat map.

    Raises:
        FormatError: not a JSON object, or too large (PVB607).
    """
    return dict(records.as_object(records.parse_json(data, "rvps-sample"), "rvps-sample"))


def read_rvps_message(data: bytes) -> FlatMap:
    """Read the registration message and its payload.

    Raises:
        FormatError: not a ``sample`` message of the known version, or a payload that is not the standard, padded
            base64 of a flat map (PVB607).
    """
    message = records.as_object(records.parse_json(data, "rvps-message"), "rvps-message")
    if message.get("version", VERSION) != VERSION:
        raise wrong(f"rvps-message: version `{message['version']}`, not `{VERSION}`")
    if message.get("type") != "sample":
        raise wrong(f"rvps-message: type `{message.get('type')}`, not `sample`")
    return read_rvps_sample(records.from_base64(message.get("payload"), "rvps-message: payload", b"+/"))


def read_rvps_records(data: bytes) -> FlatMap:
    """Read an array of stored records.

    Raises:
        FormatError: PVB607.
    """
    return records.read_array(data, "rvps-records")


def read_local_fs(files: Files) -> FlatMap:
    """Read the files of the ``LocalFs`` storage.

    Raises:
        FormatError: a file's record does not carry the file's name (PVB607).
    """
    found: FlatMap = {}
    for path, data in files.items():
        folder, _, key = path.rpartition("/")
        name, value = records.read_record(records.parse_json(data, path), path)
        if folder.rpartition("/")[2] not in {FOLDER, ""} or key.replace(_SLASH, "/") != name:
            raise wrong(f"{path}: the record names itself `{name}`")
        found[name] = value
    return found


def read_operator_configmap(data: bytes) -> FlatMap:
    """Read the operator's ConfigMap and its records.

    Raises:
        FormatError: not a ConfigMap with one of the keys that the operator mounts, or a record that Trustee would
            not read (PVB607).
    """
    import yaml

    records.bounded(data, "operator-configmap")
    try:
        _refuse_doubled(yaml.compose(data, Loader=yaml.SafeLoader))
        manifest = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise wrong(f"operator-configmap: not YAML: {error}") from error
    top = records.as_object(manifest, "operator-configmap")
    if (top.get("apiVersion"), top.get("kind")) != ("v1", "ConfigMap"):
        raise wrong("operator-configmap: not a ConfigMap of apiVersion v1")
    content = records.as_object(top.get("data"), "operator-configmap: data")
    keys = [key for key in (KEYED_KEY, ARRAY_KEY) if key in content]
    if len(keys) != 1 or not isinstance(content[keys[0]], str):
        raise wrong(f"operator-configmap: neither `{KEYED_KEY}` nor `{ARRAY_KEY}` is a text")
    read = records.read_keyed if keys == [KEYED_KEY] else records.read_array
    return read(content[keys[0]].encode(), keys[0])


def _refuse_doubled(root: Any) -> None:
    """Refuse a name that stands twice in one mapping: one value would be lost when the file is written."""
    import yaml

    todo, seen = [root], set()
    while todo:
        node = todo.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"`{twice[:100]}` stands twice")
            todo += [value for _, value in node.value]
        else:
            todo += node.value


def _yaml_text(text: str) -> str:
    # a name such as `no` or `1e3` is text only in quotes, and JSON's quotes are YAML's
    return json.dumps(text)


def _is_message(_: bytes, parsed: object) -> bool:
    return isinstance(parsed, dict) and {"type", "payload"} <= parsed.keys()


def _is_configmap(data: bytes, parsed: object) -> bool:
    if isinstance(parsed, dict):
        return parsed.get("kind") == "ConfigMap"
    return parsed is None and b"ConfigMap" in data


def _is_records(_: bytes, parsed: object) -> bool:
    return isinstance(parsed, list) and all(isinstance(item, dict) for item in parsed)


def _is_keyed(_: bytes, parsed: object) -> bool:
    """Tell the file of ``LocalJson`` from a flat map: every value is a text, and one of them is a record's base64."""
    if not isinstance(parsed, dict) or not parsed or not all(isinstance(text, str) for text in parsed.values()):
        return False
    # the base64 of `{"`
    return any(text.startswith("eyJ") for text in parsed.values())


def _is_sample(_: bytes, parsed: object) -> bool:
    return isinstance(parsed, dict)


FORMATS = (
    Format(
        name="rvps-sample",
        title="the flat map `{name: value}`, for reading, comparing and other tools",
        file="rvps-sample.json",
        media="application/json",
        encode=rvps_sample,
        decode=read_rvps_sample,
        recognise=_is_sample,
        in_build=True,
    ),
    Format(
        name="rvps-message",
        title="the registration message, for `rvps-tool register` and the KBS's `POST /kbs/v0/reference-value`",
        file="rvps-message.json",
        media="application/json",
        encode=rvps_message,
        decode=read_rvps_message,
        recognise=_is_message,
        in_build=True,
    ),
    Format(
        name="rvps-records",
        title="the stored records, an array",
        file="rvps-records.json",
        media="application/json",
        encode=rvps_records,
        decode=read_rvps_records,
        recognise=_is_records,
        heeds=OF_POLICY | {"expires"},
    ),
    Format(
        name="local-json",
        title="the file of the `LocalJson` storage",
        file="local-json.json",
        media="application/json",
        encode=local_json,
        decode=records.read_local_json,
        recognise=_is_keyed,
        heeds=OF_POLICY | {"expires"},
    ),
    Format(
        name="local-fs",
        title="the files of the `LocalFs` storage, a folder",
        file="local-fs",
        media="application/json",
        encode=local_fs,
        decode_files=read_local_fs,
        since=KEYED_SINCE,
        why_not="its `LocalFs` storage is a database that is not written by hand",
        heeds=OF_POLICY | {"expires"},
    ),
    Format(
        name="operator-configmap",
        title="a ConfigMap manifest for the Trustee operator, `spec.kbsRvpsRefValuesConfigMapName`",
        file="operator-configmap.yaml",
        media="application/yaml",
        encode=operator_configmap,
        decode=read_operator_configmap,
        recognise=_is_configmap,
        in_build=True,
        heeds=OF_POLICY | {"expires", "name", "namespace"},
    ),
    URIS,
)
