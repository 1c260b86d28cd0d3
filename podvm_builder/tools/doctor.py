"""What a build needs of this machine, what of it is missing, and the command that mends it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import PodvmError
from podvm_builder.tools import userns
from podvm_builder.tools.answer import Answer, ask
from podvm_builder.tools.mirror import KEYRING, Mirrors, find_mirrors
from podvm_builder.tools.process import HOST_PACKAGES, install_command, which
from podvm_builder.tools.tree import load_tree

NEEDED_BYTES = 4 << 30
"""Room for the tools tree, the packages, a package layer and a build under way."""

PROGRAMS = ("mmdebstrap", "unshare")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    """What there is, in words."""
    package: str | None = None
    """Debian package that mends it, if one does."""
    mend: str | None = None
    """What else mends it."""
    checked: bool = True
    """False: whether it works could not be tried here."""


def examine(*, cache: Path, mirror: str | None = None) -> tuple[Check, ...]:
    """Look at everything that making the tools tree and building in it needs; nothing is changed.

    The mirror is asked whether it answers, with a time-out.

    Args:
        cache: where the cache is or would be.
        mirror: URI of the Debian archive, where the user gave one.

    Raises:
        InputError: PVB303, ``mirror`` is not an http or https URI.
    """
    spec = catalogue().tools
    tree = load_tree(cache, spec.id)
    # what only making the tree needs is not missed once it is there
    making = () if tree is not None else (*map(_program, PROGRAMS[:1]), _keyring())
    as_user = () if os.geteuid() == 0 else (_program("newuidmap"),)
    mirrors = find_mirrors(mirror, suite=spec.suite)
    return (
        _architecture(),
        _program(PROGRAMS[1]),
        *as_user,
        *making,
        _namespaces(),
        _space(cache),
        _mirror(mirrors, spec.suite),
        Check(
            name="tools tree",
            ok=True,
            found=f"{len(tree.versions)} packages in {tree.root}" if tree else "not made yet; the first build makes it",
        ),
        Check(name="virtualization", ok=True, found=_kvm()),
    )


def mend(checks: Sequence[Check]) -> list[str]:
    """Return the commands and remarks that mend what is missing: all packages in one command, first."""
    packages = sorted({check.package for check in checks if not check.ok and check.package})
    rest = [check.mend for check in checks if not check.ok and check.mend]
    return ([install_command(packages)] if packages else []) + rest


def _architecture() -> Check:
    machine = platform.machine()
    return Check(
        name="architecture",
        ok=machine == "x86_64",
        found=machine,
        mend="build on an x86_64 machine",
    )


def _program(name: str) -> Check:
    path = which(name)
    return Check(name=name, ok=path is not None, found=path or "not installed", package=HOST_PACKAGES[name])


def _keyring() -> Check:
    there = Path(KEYRING).is_file()
    return Check(
        name="Debian's archive keys",
        ok=there,
        found=KEYRING if there else "not installed",
        package="debian-archive-keyring",
    )


def _namespaces() -> Check:
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    try:
        userns.check()
    except PodvmError as error:
        # a missing program has a row of its own
        return Check(
            name="namespaces", ok=False, found=error.message, mend=None if error.code == "PVB301" else error.hint
        )
    return Check(name="namespaces", ok=True, found=f"{who} may make them")


def _space(cache: Path) -> Check:
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    return Check(
        name="space",
        ok=free >= NEEDED_BYTES,
        found=f"{free / (1 << 30):.1f} GiB free for {cache}",
        mend=f"free {NEEDED_BYTES >> 30} GiB, or give another place with --cache",
    )


def _mirror(mirrors: Mirrors, suite: str) -> Check:
    name = "package mirror"
    if mirrors.archive is None:
        return Check(
            name=name, ok=True, checked=False, found=f"the default of each tool ({mirrors.origin}), not checked"
        )
    answer = ask(mirrors.archive, suite, mirrors.options)
    return Check(
        name=name,
        ok=answer is not Answer.NO,
        checked=answer is not Answer.NOT_ASKED,
        found=f"{mirrors.archive} ({mirrors.origin}), {answer.value}",
        mend="give a mirror that answers with --mirror URL",
    )


def _kvm() -> str:
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm is there; boots try it"
    return "no KVM: boots are emulated, which takes about a minute each"
