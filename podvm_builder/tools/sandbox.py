"""Running programs with mounts, processes and an environment of their own, as root or as an ordinary user.

Root unshares mounts, pids and IPC. An ordinary user first enters a user namespace in which they are root and
their subordinate ids are the others (``unshare --map-root-user --map-auto``). No network namespace: packages
are fetched from inside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from podvm_builder.errors import Lacking
from podvm_builder.tools import userns
from podvm_builder.tools.process import environment, stop

SCRATCH = ("/run", "/tmp", "/mnt", "/var/tmp", "/root")  # noqa: S108 - mount points inside the tree
"""Empty writable folders of every program in a tree, gone with it. Binds go below them, by custom below `/mnt`."""

GRACE = 10
"""Seconds between a request to end and the kill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A file or folder of the host, and where the program sees it."""

    host: Path
    inside: str
    """Absolute path below one of :data:`SCRATCH`, or of something that exists in the tree."""
    read_only: bool = False


def spawn(
    args: Sequence[str],
    *,
    root: Path | None,
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
    """Start a program in a tree, or on the host's own root where ``root`` is None, and return once it runs.

    The program and everything it starts end when it ends, when :func:`~podvm_builder.tools.process.stop` is
    called, and when the calling thread ends, however that happens; its mounts go with it. It is no member of
    the terminal's process group: Ctrl-C reaches the caller, which stops it. A death by signal n is reported as exit
    status 128 + n.

    Args:
        args: the program, found on the tree's PATH, and its arguments.
        root: folder that holds the tree; it is read-only for the program, but for :data:`SCRATCH`.
        binds: what else the program sees of the host.
        cwd: working folder, as the program sees it.
        env: added to a clean environment.
        stdin: as for :class:`subprocess.Popen`; nothing by default.
        stdout: as for :class:`subprocess.Popen`.
        stderr: as for :class:`subprocess.Popen`.
        cpus: the only processors it may use; none means all.
        umask: its file mode creation mask.
        pass_fds: descriptors that it inherits under their own numbers.

    Raises:
        Lacking: PVB310-314, this machine does not allow the namespaces or the mounts.
    """
    reader, status = os.pipe()
    spec = {
        "parent": os.getpid(),
        "status": status,
        "root": None if root is None else str(root.resolve()),
        "scratch": SCRATCH,
        "binds": [(str(bind.host.resolve()), bind.inside, bind.read_only) for bind in binds],
        "cwd": cwd,
        "env": environment(env),
        "args": list(args),
        "cpus": list(cpus),
        "umask": umask,
        "grace": GRACE,
    }
    script = Path(__file__).with_name("enter.py")
    command = [*userns.prefix(), sys.executable, "-I", "-S", str(script), json.dumps(spec)]
    try:
        process = subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=(status, *pass_fds), start_new_session=True
        )
        os.close(status)
        status = -1
        try:
            with os.fdopen(reader, "rb", closefd=False) as pipe:
                trouble = pipe.read()
        except BaseException:  # an interruption: the program may run already
            stop(process)
            raise
    finally:
        os.close(reader)
        if status >= 0:
            os.close(status)
    if trouble:
        process.wait()
        raise userns.refusal(trouble.decode(errors="replace"), program=args[0])
    if process.poll() not in (None, 0) and userns.prefix():
        userns.check()
    return process


def remove(path: Path) -> None:
    """Delete a folder that programs in a tree may have filled with other owners' files; what is absent is done.

    It stays on one file system, so that a mount left inside is never followed.

    Raises:
        Lacking: PVB312, something in it could not be deleted.
    """
    if not os.path.lexists(path):
        return
    done = subprocess.run(
        [*userns.prefix(), "rm", "-rf", "--one-file-system", "--", str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment(),
        check=False,
    )
    if done.returncode != 0:
        raise Lacking(
            f"cannot remove `{path}`: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no reason'}",
            code="PVB312",
            hint="remove it as root",
        )
