"""The shape of component sets, and their JSON Schema."""

from __future__ import annotations

from typing import Any

from podvm_builder.planning.schema import tidy
from podvm_builder.planning.shape import Shape
from podvm_builder.supply.published import ATTESTERS
from podvm_builder.supply.set_model import SetDocument

SHAPE = Shape(
    model=SetDocument,
    what="component sets",
    schema="1",
    missing={"schema": "begin the set with `schema: 1`"},
    groups=("kata", "guest-components", "pause"),
)


def set_schema() -> dict[str, Any]:
    """Return the schema of component sets (JSON Schema 2020-12)."""
    schema = tidy(SetDocument.model_json_schema())
    schema["properties"]["tee"]["enum"] = list(ATTESTERS)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "podvm-build component set",
        **schema,
    }
