"""Permissions: who may write what, and what runs with other rights than its caller's."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from podvm_builder.formats.filetree import Kind
from podvm_builder.formats.unit_file import TYPES
from podvm_builder.lint.known import Known
from podvm_builder.lint.rule import Hit, rule
from podvm_builder.lint.subject import Need, Subject

_UNIT_FOLDERS = ("etc/systemd/system/", "usr/lib/systemd/system/", "usr/local/lib/systemd/system/")
_SETUID, _SETGID, _STICKY = 0o4000, 0o2000, 0o1000


@rule("PVB820", "mode", Need.FILES, mend="give the file the mode that the message names, in `mkosi.extra` or a script")
def mode(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find files that more may read or write than should, programs that cannot be run, and units that can."""
    for path, entry in subject.root.entries.items():
        if entry.kind is Kind.LINK:
            continue
        for pattern, most in known.facts.modes.items():
            if fnmatchcase(path, pattern) and entry.mode & ~most & 0o777:
                yield f"/{path}", f"`/{path}` has mode {entry.mode:04o}; at most {most:04o} is right"
        unit = entry.kind is Kind.FILE and path.startswith(_UNIT_FOLDERS) and path.endswith((*TYPES, ".conf"))
        if unit and entry.mode & 0o111:
            yield f"/{path}", f"the unit file `/{path}` is executable (mode {entry.mode:04o}); 0644 is right"
        if entry.mode & 0o020 and entry.group != 0 and entry.kind is Kind.FILE:
            yield f"/{path}", f"group {entry.group} may write `/{path}` (mode {entry.mode:04o})"


@rule(
    "PVB821",
    "setuid",
    Need.FILES,
    mend="take the bit away, or remove the program: nobody logs in who would need it",
)
def setuid(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find files that run with the rights of their owner or group."""
    for path, entry in subject.root.entries.items():
        if entry.kind is Kind.FILE and entry.mode & (_SETUID | _SETGID) and path not in known.facts.setuid:
            word = "set-user-ID" if entry.mode & _SETUID else "set-group-ID"
            yield f"/{path}", f"`/{path}` is {word} (mode {entry.mode:04o})"


@rule(
    "PVB822",
    "file-capabilities",
    Need.FILES,
    mend="take the attribute away (setcap -r), and give a unit that needs it `AmbientCapabilities=`",
)
def file_capabilities(subject: Subject, _: Known) -> Iterator[Hit]:
    """Find files that give capabilities to whoever runs them."""
    for path, entry in subject.root.entries.items():
        if entry.capabilities:
            yield f"/{path}", f"`/{path}` has file capabilities"


@rule("PVB823", "world-writable", Need.FILES, mend="take the right to write from others (chmod o-w)")
def world_writable(subject: Subject, _: Known) -> Iterator[Hit]:
    """Find what everybody may write; a folder whose sticky bit is set lets each change only what is their own."""
    for path, entry in subject.root.entries.items():
        shared = entry.kind is Kind.FOLDER and entry.mode & _STICKY
        if entry.kind in (Kind.FILE, Kind.FOLDER) and entry.mode & 0o002 and not shared:
            yield f"/{path}", f"everybody may write `/{path}` (mode {entry.mode:04o})"


@rule("PVB824", "owner", Need.FILES, Need.OWNERS, mend="give it to root: what root runs or reads must be root's")
def owner(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find programs, libraries and configuration that another user than root owns, and so may change."""
    for path, entry in subject.root.entries.items():
        right = entry.owner == 0 or any(fnmatchcase(path, pattern) for pattern in known.facts.owned)
        if not right and path.startswith(("usr/", "etc/", "boot/", "opt/")):
            yield f"/{path}", f"`/{path}` belongs to user {entry.owner}"
