"""The kernel: drivers that the machine needs, and its command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from podvm_builder.formats.filetree import FileTree, walk
from podvm_builder.lint.known import Known
from podvm_builder.lint.rule import Hit, rule
from podvm_builder.lint.subject import COMMAND_LINE, Files, Need, Subject

_MODULES = "usr/lib/modules"
_FILE = re.compile(r"(?:^|/)([^/]+)\.ko(?:\.(?:xz|zst|gz))?$")


@rule(
    "PVB840",
    "tee-driver",
    Need.FILES,
    Need.TEE,
    Need.CLOUD,
    mend="add the driver to `kernel.modules`, or take a kernel package that has it",
)
def tee_driver(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find a TEE whose guest driver the kernel lacks: no agent could get evidence."""
    tee = known.catalogue.tees[subject.about.tee or ""]
    row = known.catalogue.clouds[subject.about.cloud or ""].tees.get(tee.name)
    own = tee.architecture_drivers.get(subject.about.arch, tee.drivers)
    wanted = own if row is None or row.drivers is None else row.drivers
    for driver in _absent(subject, known, wanted, "KernelModulesInclude"):
        yield f"/{_MODULES}", f"the kernel has no `{_name(driver)}`, by which a guest of {tee.title} gets evidence"


@rule(
    "PVB841",
    "disk-driver",
    Need.FILES,
    Need.CLOUD,
    mend="add the driver to `kernel.initrd_modules`: the initrd could not find the root",
)
def disk_driver(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find a cloud whose disk the initrd has no driver for."""
    cloud = known.catalogue.clouds[subject.about.cloud or ""]
    for driver in _absent(subject, known, cloud.drivers.disk, "KernelModulesInitrdInclude"):
        yield f"/{_MODULES}", f"the initrd has no `{_name(driver)}`, the driver of a disk of {cloud.title}"


@rule(
    "PVB842",
    "network-driver",
    Need.FILES,
    Need.CLOUD,
    mend="add the driver to `kernel.modules`: the machine would have no network",
)
def network_driver(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find a cloud whose network the root has no driver for."""
    cloud = known.catalogue.clouds[subject.about.cloud or ""]
    for driver in _absent(subject, known, cloud.drivers.network, "KernelModulesInclude"):
        yield f"/{_MODULES}", f"the kernel has no `{_name(driver)}`, a network driver of {cloud.title}"


@rule(
    "PVB843",
    "console",
    Need.COMMAND_LINE,
    mend="name a console of this architecture in `kernel.cmdline`",
)
def console(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find a console argument that does not fit the architecture: the machine would boot without a word."""
    arch = known.catalogue.architectures.get(subject.about.arch)
    if arch is None:
        return
    for word in subject.words:
        key, _, value = word.partition("=")
        device = value.partition(",")[0].removeprefix("/dev/")
        if key == "console" and not any(fnmatchcase(device, pattern) for pattern in arch.consoles):
            yield COMMAND_LINE, f"`{word}` is no console of {arch.title}; {', '.join(arch.consoles)} are"


@rule(
    "PVB847",
    "credential-import",
    Need.COMMAND_LINE,
    mend="put `systemd.import_credentials=no` back into `kernel.cmdline`",
)
def credential_import(subject: Subject, _: Known) -> Iterator[Hit]:
    """Find a command line that lets the host hand in credentials by SMBIOS or fw_cfg, which nothing measures."""
    values = [word.partition("=")[2] for word in subject.words if word.startswith("systemd.import_credentials=")]
    if not values or values[-1].lower() not in ("no", "n", "0", "false", "f", "off"):
        yield COMMAND_LINE, "systemd imports credentials that the host gives by SMBIOS and fw_cfg (systemd-creds(1))"


def module_path(name: str, files: Files) -> str | None:
    """Return the path of a module, or of the list that says it is compiled in; None if the kernel has it in no way."""
    for path in files.entries:
        match = _FILE.search(path) if path.startswith(f"{_MODULES}/") else None
        if match is not None and _spelt(match[1]) == name:
            return path
    for version in files.linked.list(_MODULES):
        path = f"{_MODULES}/{version}/modules.builtin"
        if name in _held((files.text(path) or "").split()):
            return path
    return None


def has_kernel(files: Files) -> bool:
    """Say whether a tree has a kernel's modules of its own; a container's has not."""
    return bool(files.linked.list(_MODULES))


def _absent(subject: Subject, known: Known, wanted: Iterable[str], setting: str) -> Iterator[str]:
    """Yield drivers that are neither modules nor compiled in; of a recipe, those that its patterns leave out."""
    if subject.settings is not None:
        patterns = [re.compile(pattern) for pattern in subject.settings.get(setting, ())]
        for driver in wanted:
            # whether the distribution compiles a driver in cannot be seen in a recipe
            guess = any(fnmatchcase(driver, pattern) for pattern in known.facts.compiled_in)
            paths = [f"{path}.ko" for path in driver.split("|")]
            if not guess and not any(pattern.search(path) for pattern in patterns for path in paths):
                yield driver
        return
    has = _built_in(subject.root) | _held(subject.root.entries)
    if setting == "KernelModulesInitrdInclude" and subject.initrd is not None:
        has = _built_in(subject.root) | _held(path for path, _ in walk(_tree(subject)))
    yield from (driver for driver in wanted if not has & {_name(path) for path in driver.split("|")})


def _tree(subject: Subject) -> FileTree:
    if subject.initrd is None:
        raise TypeError("there is no initrd to look into")
    return subject.initrd


def _held(paths: Iterable[str]) -> frozenset[str]:
    """Return the names of modules that are files, as the kernel spells them."""
    return frozenset(_spelt(match[1]) for match in map(_FILE.search, paths) if match is not None)


def _built_in(files: Files) -> frozenset[str]:
    """Return the names of modules that are compiled in, which the kernel's build lists."""
    found: set[str] = set()
    for version in files.linked.list(_MODULES):
        text = files.text(f"{_MODULES}/{version}/modules.builtin") or ""
        found |= _held(text.split())
    return frozenset(found)


def _name(driver: str) -> str:
    """Return a driver's name as the kernel spells it; of several, the first's."""
    return _spelt(driver.partition("|")[0].rpartition("/")[2])


def _spelt(name: str) -> str:
    return name.replace("-", "_")
