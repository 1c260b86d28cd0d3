"""Whether a package archive answers, asked with the host's apt: its proxies, certificates and time-outs count."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from podvm_builder.tools.process import run

HELPER = Path("/usr/lib/apt/apt-helper")
_PATIENCE = 30.0
"""Seconds; a mirror that sends nothing is given up after ten, one that trickles after these."""


class Answer(Enum):
    """Whether an archive answers."""

    YES = "it answers"
    NO = "it does not answer"
    NOT_ASKED = "not checked"
    """There is no apt here to ask with."""


def ask(archive: str, suite: str, options: Sequence[tuple[str, str]]) -> Answer:
    """Ask an archive for a suite's InRelease, as apt would: with its proxies and certificates, once, and not for long.

    Args:
        archive: URI.
        suite: whose InRelease is asked for.
        options: apt's settings, as :class:`podvm_builder.tools.mirror.Mirrors` has them.
    """
    if not HELPER.exists():
        return Answer.NOT_ASKED
    settings = [word for name, value in options for word in ("-o", f"{name}={value}")]
    quick = ["-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10", "-o", "Acquire::https::Timeout=10"]
    release = f"{archive}/dists/{suite}/InRelease"
    with tempfile.TemporaryDirectory() as folder:
        args = [str(HELPER), *settings, *quick, "download-file", release, f"{folder}/InRelease"]
        try:
            probe = run(args, timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            return Answer.NO
    return Answer.YES if probe.returncode == 0 else Answer.NO
