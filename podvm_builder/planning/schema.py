"""The JSON Schema of profiles, for editors and for those who write profiles by program."""

from __future__ import annotations

from typing import Any

from podvm_builder.catalog.cpus import SIGNATURES
from podvm_builder.catalog.entries import Catalogue
from podvm_builder.planning.model import ProfileDocument


def profile_schema(catalogue: Catalogue) -> dict[str, Any]:
    """Return the schema of profiles (JSON Schema 2020-12), with the catalogue's names to choose from."""
    schema = ProfileDocument.model_json_schema()
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "podvm-build profile",
        **tidy(schema),
    }
    definitions = schema["$defs"]
    for owner in (schema, definitions["Exclude"]):
        for axis, names in _axes(catalogue).items():
            _narrow(owner["properties"][axis], names)
    _narrow(schema["properties"]["features"], list(catalogue.features))
    _narrow(definitions["Platform"]["properties"]["cpus"], list(SIGNATURES))
    return schema


def _axes(catalogue: Catalogue) -> dict[str, list[str]]:
    return {
        "distro": list(catalogue.distros),
        "tee": [name for name, tee in catalogue.tees.items() if tee.reason is None],
        "cloud": list(catalogue.clouds),
        "arch": list(catalogue.architectures),
    }


def tidy(value: Any) -> Any:
    """Drop ``null`` (a key without a value is an error), empty defaults, and titles that repeat the key."""
    if isinstance(value, list):
        return [tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: tidy(item) for key, item in value.items() if not _noise(key, item)}
    choices = [choice for choice in kept.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        del kept["anyOf"]
        kept = {**choices[0], **kept}
    elif choices:
        kept["anyOf"] = choices
    return kept


def _noise(key: str, item: Any) -> bool:
    return (key == "default" and item is None) or (key == "title" and isinstance(item, str))


def _narrow(node: Any, names: list[str]) -> None:
    """Let every free text in a node be one of these names; an empty list allows none."""
    if isinstance(node, list):
        for item in node:
            _narrow(item, names)
    elif isinstance(node, dict):
        if node.get("type") == "string":
            node["enum"] = names
        elif node.get("type") == "array" and not names:
            node["maxItems"] = 0
        else:
            for key in ("anyOf", "oneOf", "items"):
                _narrow(node.get(key), names)
