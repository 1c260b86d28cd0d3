"""Facts about machines in our JSON documents: an object of name to a list of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podvm_builder.errors import FormatError
from podvm_builder.model.fact import FACTS, Facts, FactValue


def facts_to_json(facts: Facts) -> dict[str, Any]:
    """Return facts as JSON values."""
    return {name: list(values) for name, values in facts.items()}


def facts_from_json(value: object, at: str, *, code: str) -> Facts:
    """Read JSON values into facts.

    Args:
        value: the object.
        at: its key in the document.
        code: of the document's errors.

    Raises:
        FormatError: a name that is no fact, or a value that is not of its kind.
    """
    if not isinstance(value, Mapping):
        raise FormatError(f"`{at}` is not an object", code=code)
    return {name: _values(name, values, f"{at}.{name}", code) for name, values in value.items()}


def _values(name: object, values: object, at: str, code: str) -> tuple[FactValue, ...]:
    if not isinstance(name, str) or name not in FACTS:
        raise FormatError(f"`{at}` is no fact known here", code=code)
    if not isinstance(values, list | tuple) or not values:
        raise FormatError(f"`{at}` is not a list of values", code=code)
    return tuple(_value(name, value, f"{at}[{index}]", code) for index, value in enumerate(values))


def _value(name: str, value: object, at: str, code: str) -> FactValue:
    numeric = FACTS[name].kind == "number"
    if isinstance(value, bool) or not isinstance(value, int if numeric else str):
        raise FormatError(f"`{at}` is not {'a whole number' if numeric else 'a text'}", code=code)
    try:
        return FACTS[name].read(value)
    except ValueError as error:
        raise FormatError(f"`{at}`: `{value}` is not {error}", code=code) from None
