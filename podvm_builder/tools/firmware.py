"""Firmware images by name: from the tools tree, or fetched from a Debian suite through the mirror.

apt verifies what is fetched against Debian's archive keys; it runs in the tools tree with lists and settings of its
own, so that neither the host nor the tree learns of the other suite.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from podvm_builder.catalog.entries import Firmware
from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import InputError, PodvmError
from podvm_builder.tools.files import write_atomic, writing
from podvm_builder.tools.inputs import open_input
from podvm_builder.tools.lock import lock
from podvm_builder.tools.mirror import KEYRING, Mirrors
from podvm_builder.tools.process import Say, read_text
from podvm_builder.tools.sandbox import Bind
from podvm_builder.tools.tree import ToolsTree
from podvm_builder.tools.unreadable import unreadable

MAX_SIZE = 64 << 20
"""Bytes; the largest known firmware has 16 MiB."""

_TIMEOUT = 300.0
_INSIDE = "/mnt/fetch"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareFile:
    """A firmware image at hand."""

    name: str
    """Its name in the catalogue, or the path that it was given by."""
    data: bytes
    sha256: str
    """Hex."""
    known: bool
    """Whether the catalogue knows this very build."""
    version: str | None
    """Version of the package that it came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAtHand:
    """A firmware image that could not be had; what needs it is not computed."""

    name: str
    reason: str


def get_firmware(
    name: str, *, tree: ToolsTree, cache: Path, mirrors: Mirrors | None, progress: Say, base: Path = Path()
) -> FirmwareFile | NotAtHand:
    """Return a firmware by its name in the catalogue or by the path of a file.

    What was fetched once stays in the cache; the network is asked again only where the cache has no build of the name.

    Args:
        name: as the plan's platform has it; not empty.
        tree: the tools tree.
        cache: the cache's folder.
        mirrors: where packages come from; None takes what is at hand and fetches nothing.
        progress: takes a line where something is fetched.
        base: what a relative path is relative to.

    Raises:
        InputError: PVB320, a path that cannot be read; PVB323, a file that is no firmware by its size.
    """
    entry = catalogue().firmware.get(name)
    if entry is None:
        return _read(name, base / name, None, None)
    if entry.suite == "tools":
        path = tree.root / entry.path.lstrip("/")
        if not path.is_file():
            return NotAtHand(name=name, reason=f"the tools tree has no `{entry.path}`")
        return _read(name, path, entry, tree.versions.get(entry.package))
    with lock(cache / "locks" / f"firmware-{name}", wait=lambda pid: progress(f"waiting for process {pid or '?'}")):
        found = _cached(entry, cache)
        if found is not None:
            return found
        if mirrors is None:
            return NotAtHand(name=name, reason="it was not fetched before")
        progress(f"fetching firmware {name}: {entry.package} of Debian {entry.suite}")
        try:
            return _fetch(entry, tree=tree, cache=cache, mirrors=mirrors)
        except _Unreachable as error:
            return NotAtHand(name=name, reason=str(error))


class _Unreachable(Exception):
    """The package could not be fetched or does not hold the file."""


def _read(name: str, path: Path, entry: Firmware | None, version: str | None) -> FirmwareFile:
    try:
        with open_input(path, what=f"firmware `{path}`") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise unreadable(path, error, what=f"firmware `{path}`") from None
    if not data or len(data) > MAX_SIZE:
        raise InputError(f"`{path}` is no firmware: it has {'over 64 MiB' if data else 'no content'}", code="PVB323")
    digest = hashlib.sha256(data).hexdigest()
    known = entry.known.get(digest) if entry is not None else None
    return FirmwareFile(
        name=name,
        data=data,
        sha256=digest,
        known=known is not None,
        version=version or (known.version if known is not None else None),
    )


def _cached(entry: Firmware, cache: Path) -> FirmwareFile | None:
    """Return the build that was fetched before, if it still is what it was."""
    record = read_text(cache / "firmware" / f"{entry.name}.txt")
    digest, _, version = (record or "").strip().partition(" ")
    if re.fullmatch(r"[0-9a-f]{64}", digest) is None:
        return None
    with suppress(PodvmError):
        found = _read(entry.name, _place(cache, digest, entry), entry, version)
        if found.sha256 == digest:
            return found
    return None


def _place(cache: Path, digest: str, entry: Firmware) -> Path:
    return cache / "firmware" / digest / Path(entry.path).name


def _fetch(entry: Firmware, *, tree: ToolsTree, cache: Path, mirrors: Mirrors) -> FirmwareFile:
    archive = mirrors.archive or tree.archive
    if archive is None:
        raise _Unreachable("no Debian archive is known; --mirror URL gives one")
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as name:
        folder = Path(name)
        configure(folder, archive, entry.suite, mirrors)
        _apt(tree, folder, ["update"], what=f"the package lists of Debian {entry.suite} could not be fetched")
        _apt(tree, folder, ["download", entry.package], what=f"package `{entry.package}` could not be fetched")
        debs = list((folder / "deb").glob("*.deb"))
        if len(debs) != 1:
            raise _Unreachable(f"package `{entry.package}` could not be fetched")
        version = debs[0].name.split("_")[1].replace("%3a", ":")
        unpacked = _run(tree, folder, ["dpkg-deb", "--extract", f"{_INSIDE}/deb/{debs[0].name}", f"{_INSIDE}/x"])
        path = folder / "x" / entry.path.lstrip("/")
        # a link would be followed on the host: only a plain file of the package counts
        if unpacked or path.is_symlink() or not path.is_file():
            raise _Unreachable(f"`{entry.path}` is not in package `{entry.package}` {version}")
        found = _read(entry.name, path, entry, version)
    write_atomic(_place(cache, found.sha256, entry), found.data)
    write_atomic(cache / "firmware" / f"{entry.name}.txt", f"{found.sha256} {version}\n".encode())
    return found


def configure(folder: Path, archive: str, suite: str, mirrors: Mirrors) -> None:
    """Write an apt configuration that keeps everything in one folder, seen at :data:`_INSIDE`.

    The status file is empty, which apt takes for a system without packages; a single newline would break it.
    """
    with writing(folder):
        for name in ("lists/partial", "archives/partial", "deb", "files", "parts"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {archive} {suite} main\n")
        for name, path in mirrors.files().items():
            target = folder / "files" / name
            target.touch(mode=0o600)
            target.write_bytes(Path(path).read_bytes())
        settings = {
            "Dir::State": _INSIDE,
            "Dir::State::Status": f"{_INSIDE}/status",
            "Dir::State::Lists": f"{_INSIDE}/lists",
            "Dir::Cache": _INSIDE,
            "Dir::Cache::Archives": f"{_INSIDE}/archives",
            "Dir::Etc::SourceList": f"{_INSIDE}/sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Parts": f"{_INSIDE}/parts",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
        }
        text = "".join(f'{name} "{value}";\n' for name, value in settings.items())
        (folder / "apt.conf").write_text(text + mirrors.apt_conf(f"{_INSIDE}/files"))


def _apt(tree: ToolsTree, folder: Path, args: Sequence[str], *, what: str) -> None:
    said = _run(tree, folder, ["apt-get", "--quiet", *args])
    if said:
        errors = [line[3:] for line in said.splitlines() if line.startswith("E: ")]
        raise _Unreachable(f"{what}: {errors[0]}" if errors else what)


def _run(tree: ToolsTree, folder: Path, args: Sequence[str]) -> str:
    """Run a program beside the fetched files; return what it complained of, or an empty text."""
    try:
        done = tree.run(
            args,
            binds=[Bind(host=folder, inside=_INSIDE)],
            cwd=f"{_INSIDE}/deb",
            env={"APT_CONFIG": f"{_INSIDE}/apt.conf"},
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return f"E: {args[0]} did not end within {_TIMEOUT:.0f} s"
    return (done.stderr.decode(errors="replace") or "it failed") if done.returncode != 0 else ""
