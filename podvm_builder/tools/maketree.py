"""Making the tools tree with mmdebstrap, as root or, in a user namespace, as an ordinary user."""

from __future__ import annotations

import hashlib
import json
import secrets
import subprocess
from collections import deque
from pathlib import Path

from podvm_builder.catalog.entries import Tools
from podvm_builder.errors import BuildFailed, Lacking
from podvm_builder.tools import userns
from podvm_builder.tools.aptlog import explain
from podvm_builder.tools.files import write_atomic, writing
from podvm_builder.tools.mirror import Mirrors, find_mirrors
from podvm_builder.tools.process import Say, find, read_text, stop
from podvm_builder.tools.sandbox import remove, spawn
from podvm_builder.tools.tree import SCHEMA, ToolsTree, load_tree, tree_folder

# manuals and translations are half of what a tree would hold, and nobody reads them there
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/doc/*")
_KEPT = "/usr/share/doc/*/copyright"


def make_tree(spec: Tools, *, cache: Path, progress: Say, mirror: str | None) -> ToolsTree:
    """Make a tree beside its place and rename it whole. The caller holds the lock.

    Raises:
        Lacking: PVB301, 310-314, 321, 322: the machine lacks a program, a right or space.
        RemoteError: PVB302, a package mirror refused or did not answer.
        BuildFailed: PVB315, mmdebstrap failed otherwise.
    """
    program = find("mmdebstrap")
    userns.check()
    mirrors = find_mirrors(mirror, suite=spec.suite)
    tools = cache / "tools"
    with writing(tools):
        tools.mkdir(parents=True, exist_ok=True)
    for left in tools.glob(".new-*"):
        remove(left)
    new = tools / f".new-{secrets.token_hex(4)}"
    progress(f"making the tools tree: Debian {spec.suite} from {mirrors.archive or 'the default mirror'}")
    try:
        with writing(new):
            (new / "tree").mkdir(parents=True)
        _bootstrap(program, spec, new, mirrors, progress)
        _finish(spec, new)
        place = tree_folder(cache, spec.id)
        remove(place)
        with writing(place):
            new.rename(place)
    finally:
        remove(new)
    tree = load_tree(cache, spec.id)
    assert tree is not None  # noqa: S101 - it has just been written
    progress(f"the tools tree is made: {len(tree.versions)} packages")
    return tree


def command(program: str, spec: Tools, target: Path, mirrors: Mirrors) -> list[str]:
    """Return mmdebstrap's command line."""
    return [
        program,
        # root mode also in a user namespace: it is ours, and maps the user to root as every later entry does
        "--mode=root",
        "--variant=apt",
        "--format=directory",
        f"--include={','.join(spec.packages)}",
        *(f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT),
        f"--dpkgopt=path-include={_KEPT}",
        *(f'--aptopt={name} "{value}"' for name, value in mirrors.options),
        spec.suite,
        str(target),
        *mirrors.one_line(spec.suite, ("main",)),
    ]


def _bootstrap(program: str, spec: Tools, new: Path, mirrors: Mirrors, progress: Say) -> None:
    with writing(new):
        log = (new / "mmdebstrap.log").open("wb")
    tail: deque[str] = deque(maxlen=200)
    with log:
        process = spawn(
            command(program, spec, new / "tree", mirrors), root=None, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            for raw in process.stdout:
                log.write(raw)
                line = raw.decode(errors="replace").rstrip()
                tail.append(line)
                if line.startswith("I: "):
                    progress(f"  {line[3:]}")
            status = process.wait()
        finally:
            stop(process)
            process.stdout.close()
    if status == 0:
        return
    known = explain(tail, doing="making the tools tree")
    if known is not None:
        raise known
    errors = [line for line in tail if line.startswith(("E: ", "dpkg: error"))] or list(tail)[-5:]
    raise BuildFailed(f"mmdebstrap failed with exit status {status}: {' | '.join(errors[-5:])}", code="PVB315")


def _finish(spec: Tools, new: Path) -> None:
    """Take the mirror's traces out of the tree, make what is mounted over, and write the record."""
    tree = new / "tree"
    sources = read_text(tree / "etc/apt/sources.list") or ""
    archive = next((word for line in sources.splitlines() for word in line.split() if "://" in word), None)
    with writing(tree):
        for name in ("etc/apt/sources.list", "etc/apt/apt.conf.d/99mmdebstrap"):
            (tree / name).unlink(missing_ok=True)
        for name in ("etc/resolv.conf", "etc/hosts"):
            (tree / name).unlink(missing_ok=True)
            (tree / name).touch()
    query = ["dpkg-query", "--show", "--showformat=${Package} ${Version} ${Architecture}\n"]
    probe = spawn(query, root=tree, stdout=subprocess.PIPE)
    try:
        listing = probe.communicate()[0].decode()
    finally:
        stop(probe)
    lines = sorted(listing.splitlines())
    if probe.returncode != 0 or not lines:
        raise Lacking("the new tools tree cannot be entered", code="PVB314")
    record = {
        "schema": SCHEMA,
        "spec": spec.id,
        "suite": spec.suite,
        "requested": list(spec.packages),
        "archive": archive,
        "packages_digest": hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest(),
        "installed": [line.split() for line in lines],
    }
    write_atomic(new / "tree.json", json.dumps(record, indent=1).encode())
