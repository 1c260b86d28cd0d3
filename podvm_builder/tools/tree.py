"""The tools tree: a private Debian that every build runs in, made once per specification."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import Lacking
from podvm_builder.tools.cache import refuse_while_busy
from podvm_builder.tools.lock import lock
from podvm_builder.tools.process import Say, read_text, stop
from podvm_builder.tools.sandbox import Bind, remove, spawn

SCHEMA = "podvm-tools-tree/1"

# how names are resolved and servers are trusted is the machine's, not the tree's
_HOST_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsTree:
    """A tools tree that is there whole."""

    root: Path
    """The folder that holds it; nothing in it is ever changed."""
    spec_id: str
    """Identity of its specification: distribution, suite and the packages asked for."""
    packages_digest: str
    """Hex SHA-256 over what was installed: a line ``name version architecture`` for each package, sorted."""
    versions: Mapping[str, str]
    """Installed version by package name."""
    archive: str | None
    """URI of the archive that it came from."""

    def popen(
        self,
        args: Sequence[str],
        *,
        binds: Sequence[Bind] = (),
        cwd: str = "/",
        env: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        cpus: Sequence[int] = (),
        umask: int = 0o022,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a program in the tree; :func:`podvm_builder.tools.sandbox.spawn` says what it sees and how it ends.

        Raises:
            Lacking: PVB310-314, this machine does not allow it.
        """
        own = [
            Bind(host=Path(path).resolve(), inside=path, read_only=True)
            for path in _HOST_FILES
            if Path(path).is_file() and (self.root / path[1:]).exists()
        ]
        return spawn(
            args,
            root=self.root,
            binds=[*own, *binds],
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cpus=cpus,
            umask=umask,
            pass_fds=pass_fds,
        )

    def run(
        self,
        args: Sequence[str],
        *,
        binds: Sequence[Bind] = (),
        cwd: str = "/",
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program in the tree to its end and return its output, whatever its exit status.

        Raises:
            Lacking: PVB310-314, this machine does not allow it.
            subprocess.TimeoutExpired: it took longer than ``timeout`` seconds; it has been ended.
        """
        process = self.popen(args, binds=binds, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            stop(process)
        return subprocess.CompletedProcess(list(args), process.returncode, out, err)


def tree_folder(cache: Path, spec_id: str) -> Path:
    """Return where the cache keeps the tree of a specification."""
    return cache / "tools" / spec_id


def load_tree(cache: Path, spec_id: str) -> ToolsTree | None:
    """Return a tree that has been made, or None if there is none."""
    folder = tree_folder(cache, spec_id)
    try:
        record = json.loads(read_text(folder / "tree.json") or "null")
        if record["schema"] != SCHEMA or record["spec"] != spec_id or not (folder / "tree/usr/bin").is_dir():
            return None
        return ToolsTree(
            root=folder / "tree",
            spec_id=spec_id,
            packages_digest=str(record["packages_digest"]),
            versions={str(name): str(version) for name, version, _ in record["installed"]},
            archive=record["archive"],
        )
    except (ValueError, KeyError, TypeError):
        return None


def ensure_tree(*, cache: Path, progress: Say, mirror: str | None = None) -> ToolsTree:
    """Return the tools tree of the catalogue's specification, making it if it is not there.

    Args:
        cache: the cache's folder, as :func:`podvm_builder.tools.cache.open_cache` returns it.
        progress: takes a line per step of making it.
        mirror: URI of the Debian archive, where the user gave one.

    Raises:
        Lacking: PVB301, 310-314, 321, 322: the machine lacks a program, a right or space.
        RemoteError: PVB302, a package mirror refused or did not answer.
        BuildFailed: PVB315, mmdebstrap failed otherwise.
    """
    spec = catalogue().tools
    tree = load_tree(cache, spec.id)
    if tree is not None:
        return tree
    from podvm_builder.tools.maketree import make_tree

    def waiting(pid: int | None) -> None:
        progress(f"waiting for process {pid or '?'}, which makes the tools tree")

    with lock(cache / "locks" / "tools", wait=waiting):
        # another process may have made it while we waited
        return load_tree(cache, spec.id) or make_tree(spec, cache=cache, progress=progress, mirror=mirror)


def remove_trees(cache: Path) -> int:
    """Remove every tree of the cache, also those of other versions of the package list; return how many there were.

    Raises:
        Lacking: PVB312, something could not be deleted; PVB316, a build is under way.
    """
    refuse_while_busy(cache)
    with lock(cache / "locks" / "tools", wait=lambda pid: None):
        folders = [path for path in (cache / "tools").glob("*") if path.is_dir()]
        for folder in folders:
            # first it stops being a tree, so that an interrupted removal leaves none that looks whole
            (folder / "tree.json").unlink(missing_ok=True)
            remove(folder)
    return sum(not folder.name.startswith(".") for folder in folders)


def require(tree: ToolsTree, package: str) -> str:
    """Return the version of a package of the tree.

    Raises:
        Lacking: PVB313, the tree does not have it.
    """
    if package not in tree.versions:
        raise Lacking(f"`{package}` is not in the tools tree", code="PVB313", hint="podvm-build tools remove")
    return tree.versions[package]
