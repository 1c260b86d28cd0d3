"""Values as HCL2, and HCL2 in the form that ``packer fmt`` gives it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

_ATTRIBUTE = re.compile(r"(?P<indent> *)(?P<name>[A-Za-z_][A-Za-z0-9_-]*) *= *(?P<value>\S.*)")


def literal(value: object) -> str:
    """Return text, a truth value, a number or a list of text as HCL2; ``${`` and ``%{`` stand for themselves."""
    if isinstance(value, str):
        return quoted(value.replace("${", "$${").replace("%{", "%%{"))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(literal, value))}]"
    raise TypeError(f"{type(value).__name__} has no form in HCL2 here")


def quoted(text: str) -> str:
    """Return a string of HCL2 whose ``${…}`` are expressions."""
    return json.dumps(text, ensure_ascii=False)


def aligned(text: str) -> str:
    """Line up the equals signs of attributes on neighbouring lines, as ``packer fmt`` does.

    An attribute whose value goes on over more lines stands alone, and so does each after a blank line.
    """
    return "".join(f"{line}\n" for line in _aligned(text.splitlines()))


def _aligned(lines: Iterable[str]) -> Iterator[str]:
    group: list[re.Match[str]] = []
    for line in lines:
        match = _ATTRIBUTE.fullmatch(line)
        if match is not None and match["value"][-1] not in "[{(":
            if group and group[-1]["indent"] != match["indent"]:
                yield from _columns(group)
                group = []
            group.append(match)
            continue
        yield from _columns(group)
        group = []
        yield f"{match['indent']}{match['name']} = {match['value']}" if match is not None else line
    yield from _columns(group)


def _columns(group: list[re.Match[str]]) -> Iterator[str]:
    width = max((len(match["name"]) for match in group), default=0)
    return (f"{match['indent']}{match['name']:<{width}} = {match['value']}" for match in group)
