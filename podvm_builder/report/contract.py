"""The guest's contract as a table: what cloud-api-adaptor relies on, beside what an image holds."""

from __future__ import annotations

from collections.abc import Iterator

from podvm_builder.catalog.lint_facts import ContractItem
from podvm_builder.formats.filetree import Kind
from podvm_builder.lint.contract import differences, entry_of, is_started, items_of
from podvm_builder.lint.known import Known
from podvm_builder.lint.subject import Files, Subject
from podvm_builder.report.text import printable

_INTRODUCTION = """# The guest's contract

What cloud-api-adaptor (0.22) relies on in a PodVM, and what our image holds in its place. Written by
`podvm-build lint DIR --contract` from a built image: the second column is what was found in it, not what a template
says. `podvm-build lint` fails a build that lacks an item (PVB860) or has it otherwise (PVB861).
"""


def contract_table(subject: Subject, known: Known) -> str:
    """Return the page in Markdown.

    Raises:
        FormatError, Unsupported: the image cannot be read.
    """
    files = subject.root
    parts = [_INTRODUCTION]
    groups: dict[str, list[ContractItem]] = {}
    for item in items_of(subject, known):
        groups.setdefault(item.group, []).append(item)
    for group, items in groups.items():
        parts.append(f"## {group}\n")
        parts.append("| path | cloud-api-adaptor | in our image | deliberate difference |\n|---|---|---|---|")
        parts += [_row(item, files) for item in items]
        parts.append("")
    return "\n".join(parts)


def _row(item: ContractItem, files: Files) -> str:
    cells = (f"`/{item.path}`", item.said, "; ".join(_found(item, files)), item.differs or "–")
    return "| " + " | ".join(printable(cell).replace("|", "\\|") for cell in cells) + " |"


def _found(item: ContractItem, files: Files) -> Iterator[str]:
    """Say what stands at an item's path."""
    found = entry_of(item, files)
    if found is None:
        yield "absent" if item.kind == "absent" else "**missing**"
        return
    path, entry = found
    if item.kind == "module":
        yield "compiled in" if path.endswith("/modules.builtin") else "module"
        return
    if item.kind == "unit" and entry.size == 0:
        yield "masked"
    elif entry.kind is Kind.LINK:
        yield f"link to `{entry.target}`"
    elif entry.kind is Kind.FILE:
        yield f"{'program' if item.kind == 'program' else 'file'}, mode {entry.mode:04o}"
    else:
        yield f"folder, mode {entry.mode:04o}"
    if path != item.path:
        yield f"through a link to `/{path}`"
    if item.kind == "unit" and entry.size:
        yield from (f"`{key.partition('.')[2]}={value}`" for key, value in item.settings.items())
        if item.started:
            yield "started" if is_started(item, files) else "**not started**"
    yield from (f"**{said}**" for said in differences(item, files))
