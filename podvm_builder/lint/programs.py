"""What the programs of units need to be loaded: interpreters and libraries, looked for as the loader does.

Specification: ld.so(8): the run path of the file, then the folders of ``/etc/ld.so.conf``, then ``/lib`` and
``/usr/lib``. The cache is not read: it is made from these folders. What a program opens at run time by name
(dlopen(3)) is not known.
"""

from __future__ import annotations

from collections.abc import Iterator

from podvm_builder.errors import FormatError
from podvm_builder.formats.elf import CODE, MAGIC, Elf, parse_elf
from podvm_builder.formats.filetree import Kind
from podvm_builder.formats.readers import read_all
from podvm_builder.guest.unit_programs import unit_programs
from podvm_builder.lint.known import Known
from podvm_builder.lint.rule import Hit, rule
from podvm_builder.lint.subject import Files, Need, Subject

_DEFAULT = ("lib", "usr/lib", "lib64", "usr/lib64")
_MAX_INCLUDES = 64
_MAX_PROGRAM = 256 << 20
"""Bytes of a program or library that is read: of the largest libraries there are."""


@rule(
    "PVB815",
    "program-library",
    Need.ROOT,
    mend="add the package of the library or interpreter, or take one that is built for this image",
)
def program_library(subject: Subject, _: Known) -> Iterator[Hit]:
    """Find libraries and interpreters that programs of units need and that are not there."""
    loader = _Loader(subject.root, subject.about.arch)
    for name, path in _started(subject.root):
        yield from loader.missing(name, path)


@rule("PVB863", "damaged-program", Need.ROOT, mend="replace the file by a whole one")
def damaged_program(subject: Subject, _: Known) -> Iterator[Hit]:
    """Find programs of units that begin as ELF files do, and are none."""
    loader = _Loader(subject.root, subject.about.arch)
    for name, path in _started(subject.root):
        list(loader.missing(name, path))
    yield from loader.damaged


def _started(files: Files) -> Iterator[tuple[str, str]]:
    """Yield unit and path on the disk of every program that a unit runs which is started."""
    for unit, path in unit_programs(files.units, files.reached.values()):
        yield unit.name, path


class _Loader:
    """Follows what programs need, each file once."""

    def __init__(self, files: Files, arch: str) -> None:
        self._files = files
        self._arch = arch
        self._seen: set[str] = set()
        self._folders = [*_configured(files), *_DEFAULT]
        self.damaged: list[Hit] = []

    def missing(self, unit: str, program: str) -> Iterator[Hit]:
        """Yield what a program of a unit lacks; a script's is its interpreter."""
        todo = [program]
        while todo:
            path = todo.pop()
            if path in self._seen:
                continue
            self._seen.add(path)
            interpreter, elf = self._read(path)
            if interpreter is not None:
                found = self._files.linked.resolve(interpreter)
                if found is None or found[1].kind is not Kind.FILE:
                    yield f"/{path}", f"`/{path}`, which `{unit}` runs, needs `{interpreter}`, which is not there"
                else:
                    todo.append(found[0])
            if elf is None:
                continue
            if elf.arch != self._arch:
                yield f"/{path}", f"`/{path}`, which `{unit}` needs, is for {elf.arch}, not for {self._arch}"
                continue
            for name in elf.needed:
                at = self._find(name, path, elf)
                if at is None:
                    yield f"/{path}", f"`/{path}`, which `{unit}` needs, needs `{name}`, which is not there"
                else:
                    todo.append(at)

    def _read(self, path: str) -> tuple[str | None, Elf | None]:
        """Return the interpreter of a script or program, and the program itself if it is one."""
        file = self._files.linked.open(path)
        head = file.read_at(0, min(256, file.size))
        if head.startswith(b"#!"):
            words = head[2:].split(b"\n")[0].decode("utf-8", "replace").split()
            return (words[0] if words else None), None
        if not head.startswith(MAGIC):
            return None, None
        if file.size > _MAX_PROGRAM:
            self.damaged.append((f"/{path}", f"`/{path}` has {file.size} bytes, which no program has"))
            return None, None
        try:
            elf = parse_elf(read_all(file))
        except FormatError as error:
            if error.code != CODE:
                raise
            self.damaged.append((f"/{path}", f"`/{path}`: {error.message}"))
            return None, None
        return elf.interpreter, elf

    def _find(self, name: str, path: str, elf: Elf) -> str | None:
        """Return a library's path on the disk."""
        origin = path.rpartition("/")[0]
        own = [folder.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", f"/{origin}") for folder in elf.runpath]
        candidates = [name] if "/" in name else [f"{folder}/{name}" for folder in [*own, *self._folders]]
        for candidate in candidates:
            found = self._files.linked.resolve(candidate)
            if found is not None and found[1].kind is Kind.FILE:
                return found[0]
        return None


def _configured(files: Files) -> list[str]:
    """Return the folders of ``/etc/ld.so.conf`` and what it includes."""
    folders: list[str] = []
    todo, seen = ["etc/ld.so.conf"], 0
    while todo and seen < _MAX_INCLUDES:
        path = todo.pop(0)
        seen += 1
        for line in (files.text(path) or "").splitlines():
            words = line.partition("#")[0].split()
            if len(words) == 2 and words[0] == "include":
                folder, _, pattern = words[1].lstrip("/").rpartition("/")
                suffix = pattern.removeprefix("*")
                todo += [f"{folder}/{name}" for name in sorted(files.linked.list(folder)) if name.endswith(suffix)]
            elif len(words) == 1 and words[0].startswith("/"):
                folders.append(words[0])
    return folders
