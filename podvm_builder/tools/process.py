"""Programs of the host: finding them, running them, and ending them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from podvm_builder.errors import Lacking

Say = Callable[[str], None]
"""Takes one line for the person who waits; it goes to stderr, never to stdout."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

HOST_PACKAGES: Mapping[str, str] = {
    "mmdebstrap": "mmdebstrap",
    "unshare": "util-linux",
    "newuidmap": "uidmap",
    "apt-get": "apt",
    "apt-config": "apt",
    "rm": "coreutils",
}
"""Debian and Ubuntu package of each program that the host has to supply."""

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")


def install_command(packages: Sequence[str]) -> str:
    """Return the one command that installs Debian packages on this machine."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get install -y --no-install-recommends {' '.join(packages)}"


def which(program: str) -> str | None:
    """Return the path of a program, looking in the system folders too, which a user's PATH may leave out."""
    return shutil.which(program) or shutil.which(program, path=PATH)


def find(program: str) -> str:
    """Return the path of a program of the host.

    Raises:
        Lacking: PVB301, with the command that installs it.
    """
    path = which(program)
    if path is None:
        package = HOST_PACKAGES.get(program, program)
        raise Lacking(f"`{program}` is not installed", code="PVB301", hint=install_command([package]))
    return path


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a clean environment: a known PATH and locale, the proxies that packages are fetched through, no more."""
    clean = {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    for name in _PROXIES:
        for spelling in (name, name.upper()):
            if os.environ.get(spelling):
                clean[spelling] = os.environ[spelling]
    return clean | dict(extra or {})


def run(
    args: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a short program of the host and return its output as text, whatever its exit status.

    Raises:
        Lacking: PVB301, the program is not installed.
        subprocess.TimeoutExpired: it took longer than ``timeout`` seconds; it has been killed.
    """
    return subprocess.run(
        [find(args[0]), *args[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment(env),
        timeout=timeout,
        check=False,
    )


def stop(process: subprocess.Popen[bytes], *, patience: float = 15.0) -> None:
    """End a process and wait for it: SIGTERM first, SIGKILL after ``patience`` seconds or at a second Ctrl-C.

    Programs started through :mod:`podvm_builder.tools.sandbox` take everything they started with them; what ignores the
    request is killed there before the patience here ends.
    """
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise


def read_text(path: Path) -> str | None:
    """Return a small text file's content, or None where it is absent or not ours to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
