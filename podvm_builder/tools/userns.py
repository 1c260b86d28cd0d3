"""User namespaces: what an ordinary user needs from the kernel, and which of it this machine withholds."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

from podvm_builder.errors import Lacking
from podvm_builder.tools.process import environment, find, install_command, read_text, which

_SYSCTL = Path("/proc/sys")


def prefix() -> list[str]:
    """Return what goes before a command so that it runs as root: nothing for root, a user namespace for others.

    The user is root inside, so that files they own are root's there; subordinate ids are everybody else.

    Raises:
        Lacking: PVB301, `unshare` is not installed.
    """
    if os.geteuid() == 0:
        return []
    return [find("unshare"), "--user", "--map-root-user", "--map-auto", "--"]


def check() -> None:
    """Try what a build needs.

    Raises:
        Lacking: PVB301 or PVB310-314, naming what is missing and the command that mends it.
    """
    if os.geteuid() == 0:
        done = _try([find("unshare"), "--mount", "--pid", "--ipc", "--fork", "--", "true"])
        if done:
            raise Lacking(
                f"root may not make mount and pid namespaces here: {done}",
                code="PVB314",
                hint="a container needs CAP_SYS_ADMIN and an unconfined profile: `--privileged` gives both",
            )
        return
    if which("newuidmap") is None:
        raise Lacking("`newuidmap` is not installed", code="PVB301", hint=install_command(["uidmap"]))
    known = withheld()
    if known is not None:
        raise known
    done = _try([*prefix()[:-1], "--mount", "--pid", "--fork", "--", "true"])
    if done:
        raise Lacking(
            f"an ordinary user may not make user namespaces here: {done}", code="PVB310", hint="run as root, or by sudo"
        )


def withheld(sysctl: Path = _SYSCTL, subuid: Path = Path("/etc/subuid"), user: str | None = None) -> Lacking | None:
    """Return the known reason why an ordinary user gets no usable namespace, or None if there is none.

    Args:
        sysctl: where the kernel shows its settings.
        subuid: the table of subordinate ids.
        user: name of the user; the current one if None.
    """
    for name, bad, why, good in (
        ("kernel/unprivileged_userns_clone", "0", "the kernel forbids user namespaces to ordinary users", "1"),
        ("user/max_user_namespaces", "0", "the kernel allows no user namespaces", "15000"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor takes all rights from user namespaces", "0"),
    ):
        value = read_text(sysctl / name)
        if value is not None and value.strip() == bad:
            dotted = name.replace("/", ".")
            return Lacking(
                f"{why} ({dotted} = {bad})", code="PVB310", hint=f"sudo sysctl {dotted}={good}, or run as root"
            )
    name = user or _user()
    lines = [line.split(":") for line in (read_text(subuid) or "").splitlines()]
    ids = {name, str(os.geteuid())}
    if not any(len(line) == 3 and line[0] in ids and line[2].isdigit() and int(line[2]) >= 65536 for line in lines):
        return Lacking(
            f"user `{name}` has no 65536 subordinate ids in `{subuid}`",
            code="PVB311",
            hint=f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}",
        )
    return None


def refusal(trouble: str, *, program: str) -> Lacking:
    """Return the error for what the door into the tree said: an error number, what failed, and at which path."""
    number, _, rest = trouble.partition(" ")
    if number == "2" and rest.startswith("exec:"):
        return Lacking(f"`{program}` is not in the tools tree", code="PVB313", hint="podvm-build tools remove")
    if rest.startswith("unshare"):
        try:
            check()
        except Lacking as error:
            return error
    return Lacking(
        f"cannot enter the tools tree: {rest}",
        code="PVB314",
        hint="in a container, mounting needs CAP_SYS_ADMIN and an unconfined profile: `--privileged` gives both",
    )


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _try(command: list[str]) -> str:
    """Run a command and return its complaint, or an empty text if it succeeds."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment(),
        check=False,
    )
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"
