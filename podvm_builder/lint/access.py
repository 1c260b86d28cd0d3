"""Ways into a running machine: login prompts, shells, SSH, passwords, listeners, and keys that lie about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from podvm_builder.formats.filetree import Kind
from podvm_builder.formats.secrets import secrets_in
from podvm_builder.guest.unit_programs import unit_programs
from podvm_builder.lint.known import Known
from podvm_builder.lint.rule import Hit, rule
from podvm_builder.lint.subject import COMMAND_LINE, Files, Need, Subject

_GETTY_GENERATOR = "usr/lib/systemd/system-generators/systemd-getty-generator"
_SHADOWS = ("etc/shadow", "etc/shadow-", "etc/gshadow", "etc/gshadow-")
_PASSWDS = ("etc/passwd", "etc/passwd-", "etc/group", "etc/group-")
_LISTENS = ("ListenStream", "ListenDatagram", "ListenSequentialPacket")
_LOOPBACK = re.compile(r"(?:127\.[0-9.]+|\[::1\]|localhost):[0-9]+")
_MAX_SECRET = 1 << 18
"""Bytes of a file that is looked into for secrets: keys and tokens are texts of a few kilobytes."""
_CODE = re.compile(r"\.ko(?:\.[a-z]+)?$|\.so(?:\.[0-9.]+)?$|^usr/s?bin/|^usr/lib/modules/|^usr/share/zoneinfo/")
"""Files that are programs and tables; what is not, and no larger, is read."""


@rule(
    "PVB830",
    "login-prompt",
    Need.ROOT,
    mend="mask the unit (`units: {getty.target: mask}`), boot with `systemd.getty_auto=no`, or build the debug variant",
)
def login_prompt(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find login prompts that are started on a console."""
    files = subject.root
    for name, unit in files.reached.items():
        if any(fnmatchcase(name, pattern) for pattern in known.facts.login_units):
            yield f"/{unit.path}", f"`{name}` is started"
    target = files.reached.get("getty.target")
    automatic = not any(_is_off(word, "systemd.getty_auto") for word in subject.words)
    if target is not None and automatic and subject.cmdline is not None and _GETTY_GENERATOR in files.entries:
        yield f"/{_GETTY_GENERATOR}", "systemd-getty-generator starts a login prompt on each console"


@rule(
    "PVB831",
    "ssh",
    Need.FILES,
    mend="take the SSH server's package out of `packages`, or build the debug variant",
)
def ssh(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find SSH servers."""
    facts, files = known.facts, subject.root
    for path, entry in files.entries.items():
        if entry.kind is not Kind.FOLDER and any(fnmatchcase(path, pattern) for pattern in facts.ssh_programs):
            yield f"/{path}", f"`/{path}` is an SSH server"
    for package in (subject.settings or {}).get("Packages", ()):
        if any(fnmatchcase(package, pattern) for pattern in facts.ssh_packages):
            yield "Packages", f"`{package}` is the package of an SSH server"


@rule(
    "PVB835",
    "console-shell",
    Need.COMMAND_LINE,
    mend="take the word out of `kernel.cmdline`, or build the debug variant",
)
def console_shell(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find words of the command line that give a shell to whoever is at the console."""
    for word in subject.words:
        for pattern, reason in known.facts.shell_words.items():
            if fnmatchcase(word, pattern):
                yield COMMAND_LINE, f"`{word}` {reason}"


@rule(
    "PVB832",
    "password",
    Need.FILES,
    mend="lock the account: `!` or `*` in the place of the password",
)
def password(subject: Subject, _: Known) -> Iterator[Hit]:
    """Find accounts and groups that have a password, or none where one would be asked for."""
    files = subject.root
    for path in (*_SHADOWS, *_PASSWDS):
        locked_words = ("x", "*", "!", "!!", "!*", "*LK*") if path in _PASSWDS else ("*", "!", "!!", "!*", "*LK*")
        empty_is_none = path.startswith(("etc/group", "etc/gshadow"))  # nobody joins a group without a password
        for line in (files.text(path) or "").splitlines():
            fields = line.split(":")
            if len(fields) < 2 or fields[1] in locked_words or (not fields[1] and empty_is_none):
                continue
            what = "a password" if fields[1].lstrip("!") else "no password"
            yield f"/{path}", f"`{fields[0]}` has {what} in `/{path}`"
    for folder in ("etc/credstore", "usr/lib/credstore"):
        for path, entry in files.below(folder):
            locked = (files.text(path) or "").strip() in ("!", "*") if entry.kind is Kind.FILE else True
            if entry.name.startswith("passwd.") and not locked:
                yield f"/{path}", f"`/{path}` sets a password"
    for value in (subject.settings or {}).get("RootPassword", ()):
        if value.removeprefix("hashed:") not in ("!", "*"):
            yield "RootPassword", "`RootPassword=` gives root a password"


@rule(
    "PVB833",
    "listener",
    Need.ROOT,
    mend="mask the unit (`units` of the profile): a PodVM answers on the forwarder's port alone",
)
def listener(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find sockets and services that listen to a network and are not of the guest's contract."""
    facts, files = known.facts, subject.root
    for name, unit in files.reached.items():
        if unit.type == ".socket":
            for section, key, value in unit.file.assignments:
                if section == "Socket" and key in _LISTENS and _is_network(value) and value not in facts.listeners:
                    yield f"/{unit.path}", f"`{name}` listens on {value}"
    yield from _daemons(files, facts.daemons)


def _daemons(files: Files, daemons: Mapping[str, str]) -> Iterator[Hit]:
    services = [unit for unit in files.reached.values() if unit.type == ".service"]
    for unit, path in unit_programs(files.units, services):
        said = daemons.get(path.rpartition("/")[2])
        if said is not None:
            yield f"/{unit.path}", f"`{unit.name}` runs `/{path}`, which listens on {said}"


@rule(
    "PVB834",
    "secret",
    Need.FILES,
    mend="take the file out: whoever has the image has the secret; deliver it from a KBS, or with the user data",
)
def secret(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find private keys, tokens and credentials."""
    files = subject.root
    for path, entry in files.entries.items():
        if entry.kind is not Kind.FILE or not 0 < entry.size <= _MAX_SECRET or _CODE.search(path):
            continue
        data = files.data(path)
        for what in secrets_in(data) if data is not None else ():
            yield f"/{path}", f"`/{path}` holds {what}"
    for path, file in subject.recipe.items():
        if not path.startswith("mkosi.extra/"):
            for what in secrets_in(file.data):
                yield path, f"`{path}` holds {what}"


def _is_network(address: str) -> bool:
    """Say whether systemd.socket(5) would open an address to others than this machine."""
    if address.startswith(("/", "@", "%")):
        return False
    if address.startswith("vsock:"):
        return True
    return _LOOPBACK.fullmatch(address) is None


def _is_off(word: str, key: str) -> bool:
    return word.partition("=")[0] == key and word.partition("=")[2].lower() in ("0", "no", "n", "false", "f", "off")
