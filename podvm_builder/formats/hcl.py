"""Reads the structure of HCL2 as Packer's templates use it: blocks, their labels, and attributes with their text.

Expressions are not evaluated: an attribute's value is its text, with the kind of literal that it begins as. Follows the
HCL native syntax specification (github.com/hashicorp/hcl, hclsyntax/spec.md); heredocs are refused, as our templates
have none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from podvm_builder.errors import FormatError

_MAX_DEPTH = 32
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|(?:#|//)[^\n]*|/\*.*?\*/)*", re.DOTALL)
_SPACE = re.compile(r"[ \t]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """``name = expression``."""

    name: str
    text: str
    """The expression as it stands, without blanks around it."""
    line: int
    """1-based."""

    @property
    def kind(self) -> str | None:
        """Return ``string``, ``number``, ``bool``, ``list`` or ``map`` of a literal; None of another expression."""
        if self.text in ("true", "false"):
            return "bool"
        if re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?", self.text):
            return "number"
        if self.text[:1] in '"[{' and _end(self.text, 0) == len(self.text):
            if re.match(r"[\[{]\s*for\b", self.text):
                return None
            return {'"': "string", "[": "list", "{": "map"}[self.text[0]]
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """``kind "label" … { … }``; the whole file is one without kind and labels."""

    kind: str
    labels: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    blocks: tuple[Block, ...]
    line: int

    def find(self, kind: str, *labels: str) -> Iterator[Block]:
        """Return the blocks below of a kind, and of these labels where any are given."""
        return (block for block in self.blocks if block.kind == kind and block.labels[: len(labels)] == labels)


def read_hcl(text: str) -> Block:
    """Read a template.

    Raises:
        FormatError: it is not of the form; the offset is that of the character.
    """
    body, at = _body(text, 0, depth=0)
    if at != len(text):
        raise FormatError("a closing brace without an opening one", offset=at)
    return Block(kind="", labels=(), attributes=body[0], blocks=body[1], line=1)


_Body = tuple[dict[str, Attribute], tuple[Block, ...]]


def _body(text: str, at: int, *, depth: int) -> tuple[_Body, int]:
    if depth > _MAX_DEPTH:
        raise FormatError("blocks are nested too deep", offset=at)
    attributes: dict[str, Attribute] = {}
    blocks: list[Block] = []
    while True:
        at = _skip(_BLANK, text, at)
        if at == len(text) or text[at] == "}":
            return (attributes, tuple(blocks)), at
        name = _NAME.match(text, at)
        if name is None:
            raise FormatError("a name is expected", offset=at)
        start, line = at, text.count("\n", 0, at) + 1
        at = _skip(_SPACE, text, name.end())
        if text.startswith("=", at) and not text.startswith("==", at):
            at = _skip(_SPACE, text, at + 1)
            end = _expression(text, at)
            if name[0] in attributes:
                raise FormatError(f"`{name[0]}` is set twice", offset=start)
            attributes[name[0]] = Attribute(name=name[0], text=text[at:end].strip(), line=line)
            at = end
            continue
        labels: list[str] = []
        while text.startswith('"', at):
            end = _end(text, at)
            labels.append(text[at + 1 : end - 1])
            at = _skip(_SPACE, text, end)
        if not text.startswith("{", at):
            raise FormatError(f"`{name[0]}` is neither an attribute nor a block", offset=start)
        body, at = _body(text, at + 1, depth=depth + 1)
        if not text.startswith("}", at):
            raise FormatError(f"the block `{name[0]}` is not closed", offset=start)
        at += 1
        blocks.append(Block(kind=name[0], labels=tuple(labels), attributes=body[0], blocks=body[1], line=line))


def _expression(text: str, at: int) -> int:
    """Return where an expression ends: at the end of its line, brackets and strings left aside."""
    start = at
    while at < len(text) and text[at] not in "\n}":
        if text.startswith("<<", at):
            raise FormatError("heredocs are not read", offset=at)
        if text[at] == "#" or text.startswith("//", at):
            break
        at = _end(text, at) if text[at] in '"[{(' else at + 1
    if not text[start:at].strip():
        raise FormatError("an expression is expected", offset=start)
    return at


def _end(text: str, at: int) -> int:
    """Return where a string or bracket that opens here is closed."""
    open_: list[str] = []
    start = at
    while at < len(text):
        char, inside = text[at], open_[-1] if open_ else ""
        if inside == '"':
            if char == "\\":
                at += 1
            elif text.startswith(("${", "%{"), at) and not text.startswith(("$${", "%%{"), at - 1):
                open_.append("}")
                at += 1
            elif char == '"':
                open_.pop()
            elif char == "\n":
                break
        elif char in '"[{(':
            open_.append({'"': '"', "[": "]", "{": "}", "(": ")"}[char])
        elif char == "#" or text.startswith("//", at):
            at = _skip(_BLANK, text, at) - 1
        elif char == inside:
            open_.pop()
        elif char in "]})":
            break
        at += 1
        if not open_:
            return at
    raise FormatError("a bracket or string is not closed", offset=start)


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
