"""Jinja over the package's templates, strict: a name that a template uses and nobody gives is an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from podvm_builder.recipes.hcl import literal, quoted


def render_template(name: str, values: Mapping[str, Any]) -> bytes:
    """Render a template of ``podvm_builder/templates`` to UTF-8."""
    return _environment().get_template(name).render(values).encode()


@cache
def _environment() -> Environment:
    # recipes are configuration files and scripts, never HTML: escaping would corrupt them
    environment = Environment(  # noqa: S701
        loader=PackageLoader("podvm_builder", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["lines"] = _lines
    environment.filters["hcl"] = literal
    environment.filters["hcl_raw"] = quoted
    return environment


def _lines(items: Iterable[str]) -> str:
    """Return items as the continuation lines of an mkosi list setting; `%` starts a specifier there."""
    return "\n".join(f"        {item.replace('%', '%%')}" for item in items)
