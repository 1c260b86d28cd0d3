"""Symbolic links that lead nowhere, and names that are neither files nor folders."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from podvm_builder.formats.filetree import Kind
from podvm_builder.lint.known import Known
from podvm_builder.lint.rule import Hit, rule
from podvm_builder.lint.subject import Need, Subject

_PULLS = (".wants/", ".requires/", ".upholds/")


@rule(
    "PVB810",
    "dangling-link",
    Need.ROOT,
    mend="remove the link (`image.remove`), or add what it leads to",
)
def dangling_link(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find links that lead neither to something in the image nor to where something is made at boot.

    Links by which units pull others in are the rule `unit-link`'s.
    """
    facts, files = known.facts, subject.root
    for path, entry in files.entries.items():
        if entry.kind is not Kind.LINK or any(part in path for part in _PULLS):
            continue
        if any(fnmatchcase(path, pattern) for pattern in facts.dangling):
            continue
        end, there = files.linked.end(path)
        if there is None and end.partition("/")[0] not in facts.made_at_boot:
            yield f"/{path}", f"`/{path}` leads to `{entry.target}`, which is not there"


@rule(
    "PVB825",
    "special-file",
    Need.FILES,
    mend="remove it (`image.remove`): what a system needs of the kind is made at boot",
)
def special_file(subject: Subject, _: Known) -> Iterator[Hit]:
    """Find device nodes, FIFOs and sockets: the image's own would be there beside those of devtmpfs."""
    for path, entry in subject.root.entries.items():
        if entry.kind is Kind.OTHER:
            yield f"/{path}", f"`/{path}` is a device node, FIFO or socket"
