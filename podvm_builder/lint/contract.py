"""The guest's contract: what cloud-api-adaptor relies on in an image, item by item."""

from __future__ import annotations

from collections.abc import Iterator

from podvm_builder.catalog.lint_facts import ContractItem
from podvm_builder.formats.filetree import Kind, TreeEntry
from podvm_builder.guest.unit_check import Fault, unit_faults
from podvm_builder.guest.unit_tree import Unit
from podvm_builder.lint.kernel import has_kernel, module_path
from podvm_builder.lint.known import Known
from podvm_builder.lint.rule import Hit, rule
from podvm_builder.lint.subject import Files, Need, Subject


@rule(
    "PVB860",
    "contract-missing",
    Need.ROOT,
    mend="put it back: cloud-api-adaptor relies on it (docs/contract.md)",
)
def contract_missing(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find items of the guest's contract that the image does not have."""
    for item in items_of(subject, known):
        if item.kind != "absent" and entry_of(item, subject.root) is None:
            yield f"/{item.path}", f"`/{item.path}` is not there: {item.said}"


@rule(
    "PVB816",
    "agent-not-started",
    Need.ROOT,
    mend="enable the units of the guest (`units` of the profile), and take their masks away",
)
def agent_not_started(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find agents, and other units of the guest's contract, that nothing starts."""
    for fault in unit_faults(subject.root.units, subject.cmdline or ""):
        if fault.kind in (Fault.START, Fault.AGENT):
            yield fault.place, fault.message
    for item in items_of(subject, known):
        unit = subject.root.units.get(item.path.rpartition("/")[2]) if item.started else None
        if unit is not None and not unit.masked and not is_started(item, subject.root):
            yield f"/{item.path}", f"nothing starts `{unit.name}`"


@rule(
    "PVB861",
    "contract-differs",
    Need.ROOT,
    mend="make it what the contract says (docs/contract.md)",
)
def contract_differs(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find items of the guest's contract that are there, and otherwise than they must be."""
    for item in items_of(subject, known):
        for said in differences(item, subject.root):
            yield f"/{item.path}", said


def items_of(subject: Subject, known: Known) -> Iterator[ContractItem]:
    """Yield the items that an image of these features must have, modules only where there is a kernel."""
    kernel = has_kernel(subject.root)
    for item in known.contract:
        if item.kind == "module" and not kernel:
            continue
        if not item.features or set(item.features) & set(subject.about.features):
            yield item


def entry_of(item: ContractItem, files: Files) -> tuple[str, TreeEntry] | None:
    """Return what stands at an item's path: links are followed, unless the item is one.

    Of a module, the file, or the list of what is compiled in.
    """
    if item.kind == "module":
        path = module_path(item.module, files)
        return None if path is None else (path, files.entries[path])
    if item.kind == "link":
        entry = files.entries.get(item.path)
        return None if entry is None else (item.path, entry)
    return files.linked.resolve(item.path)


def is_started(item: ContractItem, files: Files) -> bool:
    """Say whether a unit of the contract is started, itself or as an instance."""
    name = item.path.rpartition("/")[2]
    return name in files.reached or any(unit.template == name for unit in files.reached.values())


def differences(item: ContractItem, files: Files) -> Iterator[str]:
    """Say how an item that is there is otherwise than the contract has it."""
    found = entry_of(item, files)
    if found is None:
        return
    path, entry = found
    if item.kind == "absent":
        yield f"`/{item.path}` is there, which it must not be: {item.said}"
        return
    wanted = {"folder": Kind.FOLDER, "link": Kind.LINK}.get(item.kind, Kind.FILE)
    if item.kind == "link" and entry.kind is Kind.LINK and entry.target != item.target:
        yield f"`/{item.path}` leads to `{entry.target}`, not to `{item.target}`"
    if entry.kind is not wanted:
        yield f"`/{item.path}` is no {wanted.value}"
        return
    if item.kind == "program" and not entry.mode & 0o111:
        yield f"`/{item.path}` is not executable (mode {entry.mode:04o})"
    if item.mode is not None and entry.mode != item.mode:
        yield f"`/{item.path}` has mode {entry.mode:04o}, not {item.mode:04o}"
    if item.contains:
        text = " ".join((files.text(path) or "").split())
        for words in item.contains:
            if words not in text and path not in files.unread:
                yield f"`/{item.path}` does not say `{words}`"
    if item.kind == "unit":
        yield from _unit(item, files)


def _unit(item: ContractItem, files: Files) -> Iterator[str]:
    name = item.path.rpartition("/")[2]
    unit = files.units.get(name)
    if unit is None:
        yield f"`{name}` is no unit"
        return
    if unit.masked and item.choice:
        return
    for key, value in item.settings.items():
        if value not in _values(unit, key):
            yield f"`{name}` has no `{key.partition('.')[2]}={value}`"
    for key in item.without:
        if _values(unit, key):
            yield f"`{name}` has `{key.partition('.')[2]}=`, which the contract rules out"


def _values(unit: Unit, key: str) -> list[str]:
    """Return all values of a key, and the words of each."""
    section, _, name = key.partition(".")
    values = [value for at, known, value in unit.file.assignments if (at, known) == (section, name)]
    return [*values, *(word for value in values for word in value.split())]
