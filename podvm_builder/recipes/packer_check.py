"""Holds a Packer template against what its builder's plugin takes: names, types and required options.

Packer itself can say so only with the plugins at hand; the options here are those that the plugins of the catalogue's
releases declare. An expression whose type is not plain (a local value, a function) passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from podvm_builder.catalog.packer import Options, packer_facts
from podvm_builder.errors import FormatError
from podvm_builder.formats.hcl import Attribute, Block, read_hcl

_META = {
    "provisioner": {
        "pause_before": "string",
        "max_retries": "number",
        "timeout": "string",
        "only": "list(string)",
        "except": "list(string)",
        "override": "map(string)",
    },
    "post-processor": {"only": "list(string)", "except": "list(string)", "keep_input_artifact": "bool"},
}
"""Options that Packer itself adds to every block of a kind."""

_TOP = ("packer", "variable", "variables", "locals", "local", "source", "build", "data")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """Something that the builder would refuse."""

    file: str
    line: int
    block: str
    """As it is written: ``source "qemu" "podvm"``; empty where the file cannot be read."""
    option: str
    """Empty where the block itself is the problem."""
    message: str

    def __str__(self) -> str:
        """Return one line: where, in which block, and what."""
        where = f"{self.file}:{self.line}"
        return f"{where}: `{self.block}`: {self.message}" if self.block else f"{where}: {self.message}"


def check_template(files: Mapping[str, str]) -> tuple[Problem, ...]:
    """Return what is wrong with a template, by file and line.

    Args:
        files: its ``*.pkr.hcl`` files, name to text.
    """
    read: dict[str, Block] = {}
    problems: list[Problem] = []
    for name, text in files.items():
        try:
            read[name] = read_hcl(text)
        except FormatError as error:
            line = text.count("\n", 0, error.offset or 0) + 1
            problems.append(Problem(file=name, line=line, block="", option="", message=error.message))
    if problems:
        return tuple(sorted(problems))  # what the others refer to may be in a file that cannot be read
    variables = {
        block.labels[0]: block.attributes["type"].text
        for root in read.values()
        for block in root.find("variable")
        if block.labels and "type" in block.attributes
    }
    for name, root in read.items():
        problems += _Checker(name, variables).file(root)
    if read and not any(True for root in read.values() for _ in root.find("source")):
        problems.append(
            Problem(file=sorted(read)[0], line=1, block="", option="", message="the template has no `source`")
        )
    return tuple(sorted(problems))


@dataclass(frozen=True, slots=True)
class _Checker:
    """The checks of one file."""

    name: str
    variables: Mapping[str, str]

    def file(self, root: Block) -> Iterator[Problem]:
        for block in root.blocks:
            if block.kind not in _TOP:
                yield self._problem(block, "", "no such block is known")
            elif block.kind == "source":
                yield from self._source(block)
            elif block.kind == "variable":
                yield from self._variable(block)
            elif block.kind == "build":
                for step in block.blocks:
                    yield from self._step(step)

    def _source(self, block: Block) -> Iterator[Problem]:
        kind = block.labels[0] if block.labels else ""
        facts = packer_facts()
        builder = facts.builders.get(kind)
        if builder is None:
            yield self._problem(block, "", f"`{kind}` is no builder that is known: {', '.join(facts.builders)}")
            return
        known = facts.options[kind]
        yield from self._options(block, block, known.options, known)
        there = {*block.attributes, *(child.kind for child in block.blocks)}
        for names in builder.required:
            if not there.intersection(names):
                wanted = " or ".join(f"`{name}`" for name in names)
                yield self._problem(block, names[0], f"{wanted} is required and absent")

    def _variable(self, block: Block) -> Iterator[Problem]:
        for option in ("type", "description"):
            if option not in block.attributes:
                yield self._problem(block, option, f"the variable has no `{option}`")

    def _step(self, block: Block) -> Iterator[Problem]:
        kind = block.kind.removeprefix("error-cleanup-")
        if kind not in _META:
            return
        known = packer_facts().options.get(f"{kind} {block.labels[0] if block.labels else ''}")
        if known is None:
            yield self._problem(block, "", "no such step is known")
            return
        yield from self._options(block, block, {**known.options, **_META[kind]}, known)

    def _options(self, top: Block, block: Block, options: Mapping[str, str], known: Options) -> Iterator[Problem]:
        for attribute in block.attributes.values():
            wanted = options.get(attribute.name)
            if wanted is None:
                yield self._unknown(top, attribute.name, attribute.line, options)
            elif wanted.startswith("block"):
                yield self._problem(top, attribute.name, f"`{attribute.name}` is a block", attribute.line)
            elif (found := self._kind(attribute)) is not None and not _fits(found, wanted):
                message = f"`{attribute.name}` is a {found} where a {wanted} is wanted"
                yield self._problem(top, attribute.name, message, attribute.line)
        seen: set[str] = set()
        for child in block.blocks:
            wanted = options.get(child.kind)
            if wanted is None:
                yield self._unknown(top, child.kind, child.line, options)
                continue
            if not wanted.startswith("block"):
                yield self._problem(top, child.kind, f"`{child.kind}` is no block but a {wanted}", child.line)
                continue
            word, _, name = wanted.partition(" ")
            if word == "block" and child.kind in seen:
                yield self._problem(top, child.kind, f"`{child.kind}` is there twice", child.line)
            seen.add(child.kind)
            if name in known.blocks:
                yield from self._options(top, child, known.blocks[name], known)

    def _kind(self, attribute: Attribute) -> str | None:
        variable = re.fullmatch(r"var\.([A-Za-z_][A-Za-z0-9_-]*)", attribute.text)
        if variable is None:
            return attribute.kind
        return self.variables.get(variable[1], f"variable `{variable[1]}` that nobody declares")

    def _unknown(self, block: Block, option: str, line: int, options: Mapping[str, str]) -> Problem:
        near = get_close_matches(option, options, n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        return self._problem(block, option, f"there is no option `{option}`{hint}", line)

    def _problem(self, block: Block, option: str, message: str, line: int | None = None) -> Problem:
        written = " ".join([block.kind, *(f'"{label}"' for label in block.labels)])
        return Problem(file=self.name, line=line or block.line, block=written, option=option, message=message)


def _fits(found: str, wanted: str) -> bool:
    """Return whether a type is the one that is wanted; of lists and maps, only that they are."""
    if found == wanted:
        return True
    if {found, wanted} <= {"string", "number", "bool"}:
        # Packer converts plain values, a number to text among them; text that is no number it refuses when it runs
        return wanted == "string"
    shape = "list" if wanted.startswith("list") else "map" if wanted.startswith("map") else wanted
    return found == shape
