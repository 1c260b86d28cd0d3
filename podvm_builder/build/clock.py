"""Another day for mkosi and the programs that it runs, by libfaketime from the tools tree.

mkosi gives its programs an environment of its own making, so what libfaketime reads is put back into it where mkosi
starts them. Programs of the image's own root, such as maintainer scripts, do not find the library and see the real day.
"""

from __future__ import annotations

from pathlib import Path

from podvm_builder.tools.files import writing

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"

_KEEP = """\
import os
import subprocess

_start = subprocess.Popen.__init__


def start(self, *args, **options):
    if options.get("env") is not None:
        kept = ("LD_PRELOAD", "FAKETIME", "NO_FAKE_STAT", "FAKETIME_DONT_FAKE_MONOTONIC", "FAKETIME_DONT_RESET")
        options["env"] = {**options["env"], **{name: os.environ[name] for name in kept if name in os.environ}}
    _start(self, *args, **options)


subprocess.Popen.__init__ = start
"""


def clock_environment(folder: Path, seen: str, *, days_ahead: int) -> dict[str, str]:
    """Return the environment in which mkosi and its programs see a later day.

    Args:
        folder: a folder for the module that mkosi's interpreter loads when it starts.
        seen: that folder as mkosi sees it.
        days_ahead: how far ahead the clock is.

    Raises:
        Lacking: PVB321 or PVB322, the folder cannot be written.
    """
    with writing(folder):
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_KEEP)
    return {
        "PYTHONPATH": seen,
        "LD_PRELOAD": LIBRARY,
        "FAKETIME": f"+{days_ahead}d",
        # file times stay what they are: images are made of them
        "NO_FAKE_STAT": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
