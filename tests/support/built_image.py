"""One real build for the whole test run, whichever process asks for it first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from podvm_builder.model.axes import Target
from podvm_builder.tools.lock import lock

TARGET = "debian-13/snp/libvirt"


def build_once(shared: Path, *sets: str, target: str = TARGET) -> Path:
    """Return the output folder of a target with selftest components below a folder that all processes share.

    Args:
        shared: the folder.
        sets: settings as for ``--set``; an image with the same ones is built once.
        target: what to build.
    """
    out = shared / ("-".join(sets) or "plain").replace("=", "-")
    folder = out / Target.parse(target).folder
    with lock(shared / f"{out.name}-{folder.name}.lock", wait=lambda _pid: None):
        if not (folder / "manifest.json").exists():
            command = [sys.executable, "-m", "podvm_builder", "build", target, "-o", str(out)]
            done = subprocess.run(
                [*command, "--components", "selftest", *(word for one in sets for word in ("--set", one))],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
    return folder
