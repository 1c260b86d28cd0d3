"""Whether a program can start in a root file system: its interpreter, and the shared libraries it is linked with.

Sources: ld.so(8) (RUNPATH, then the default folders, which Debian's ``ld.so.conf`` widens by the architecture's),
musl's ``ldso/dynlink.c``. Libraries of libraries are not followed: a package that brings the first depends on the rest.
"""

from __future__ import annotations

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.elf import MAGIC, Elf, parse_elf
from podvm_builder.formats.filetree import Kind, LinkedTree, ReadableTree

_SCRIPT = b"#!"
_TRIPLETS = {
    "x86_64": "x86_64-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "s390x": "s390x-linux-gnu",
    "ppc64le": "powerpc64le-linux-gnu",
}
_FOLDERS = (
    "usr/local/lib/{}",
    "usr/local/lib",
    "usr/lib/{}",
    "lib/{}",
    "usr/lib64",
    "lib64",
    "usr/lib",
    "lib",
)
_MUSL_FOLDERS = ("lib", "usr/local/lib", "usr/lib")
_MAX_LINE = 256
"""Bytes of a script's first line that Linux reads (``BINPRM_BUF_SIZE``)."""


def check_program(data: bytes, *, what: str, arch: str) -> None:
    """See that a component is a program, and one for an architecture.

    Args:
        data: all of it.
        what: its name, for messages.
        arch: as ``uname -m`` says it.

    Raises:
        InputError: PVB745, it is for another architecture.
        FormatError: PVB744, it is neither an ELF program nor a script.
    """
    if data.startswith(_SCRIPT):
        return
    if not data.startswith(MAGIC):
        raise FormatError(
            f"`{what}` is neither an ELF program nor a script",
            code="PVB744",
            hint="an archive needs `file`, which says what of it is the program",
        )
    try:
        program = parse_elf(data)
    except FormatError as error:
        raise FormatError(f"`{what}`: {error.message}", code=error.code) from None
    if program.arch != arch:
        raise InputError(
            f"`{what}` is a program for {program.arch}, not for {arch}",
            code="PVB745",
            hint="name the artifact for the right architecture, or change `arch`",
        )


def unmet(root: ReadableTree, path: str, data: bytes) -> tuple[str, ...]:
    """Return what of a program's needs a root file system lacks: its interpreter, then libraries by name.

    Args:
        root: the file system.
        path: where the program stands in it.
        data: the program.

    Raises:
        FormatError, Unsupported: the file system or the program cannot be read.
    """
    tree = LinkedTree(root)
    if data.startswith(_SCRIPT):
        words = data[2:_MAX_LINE].partition(b"\n")[0].decode("utf-8", "replace").split()
        return () if words and _is_file(tree, words[0]) else (words[0] if words else "an interpreter",)
    if not data.startswith(MAGIC):
        return ()
    program = parse_elf(data)
    missing = []
    if program.interpreter is not None and not _is_file(tree, program.interpreter):
        missing.append(program.interpreter)
    folders = _folders(program, path)
    missing += [name for name in program.needed if not _found(tree, name, folders)]
    return tuple(missing)


def _folders(program: Elf, path: str) -> tuple[str, ...]:
    origin = path.rpartition("/")[0]
    own = tuple(
        folder.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)
        for folder in program.runpath
        if folder.startswith(("/", "$ORIGIN", "${ORIGIN}"))
    )
    if "musl" in (program.interpreter or ""):
        return own + _MUSL_FOLDERS
    return own + tuple(folder.format(_TRIPLETS.get(program.arch, "")) for folder in _FOLDERS)


def _found(tree: LinkedTree, name: str, folders: tuple[str, ...]) -> bool:
    # a name with a slash is a path and is not looked for (ld.so(8))
    if "/" in name:
        return _is_file(tree, name)
    return any(_is_file(tree, f"{folder}/{name}") for folder in folders)


def _is_file(tree: LinkedTree, path: str) -> bool:
    found = tree.resolve(path)
    return found is not None and found[1].kind is Kind.FILE
