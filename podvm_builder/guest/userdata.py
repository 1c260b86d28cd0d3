"""User data as cloud-api-adaptor sends it: a cloud-config that writes files of its own folder, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

FOLDER = "/run/peerpod"
ALLOWED = ("aa.toml", "cdh.toml", "apf.json", "auth.json", "initdata", "scratch-space.marker")
"""What the guest's ``process-user-data`` writes below :data:`FOLDER`; another path makes it fail."""


def cloud_config(files: Mapping[str, str]) -> str:
    """Return a cloud-config that writes these files below :data:`FOLDER`, laid out as cloud-api-adaptor does.

    Raises:
        ValueError: a content that a plain YAML block scalar does not keep as it is.
    """
    lines = ["#cloud-config", "write_files:"]
    for name, content in files.items():
        plain = content.endswith("\n") and not content.endswith("\n\n") and not content[0].isspace()
        if not plain or any(ord(c) < 32 and c != "\n" for c in content):
            raise ValueError(f"{name}: a block scalar does not keep this content")
        lines += [f"- path: {FOLDER}/{name}", "  content: |"]
        lines += [f"    {line}" if line else "" for line in content.removesuffix("\n").split("\n")]
    return "\n".join(lines) + "\n"
