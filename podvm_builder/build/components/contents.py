"""From the blobs of a source to the files that it puts into an image."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from podvm_builder.guest.components import selftest
from podvm_builder.model.components import Source, SourceKind
from podvm_builder.tools.archive import read_image_paths, read_members

_PAUSE_ID = 65535
"""User and group of the pause container, as its image has it."""


class Place(Protocol):
    """A file that is wanted: of a set or of a lock."""

    @property
    def path(self) -> str:
        """Absolute, in the PodVM image."""
        ...

    @property
    def member(self) -> str | None:
        """Inside the source."""
        ...


def read_files(source: Source, files: Iterable[Place], blobs: Sequence[Path]) -> dict[str, bytes]:
    """Return the files of a source, by their path in the PodVM image.

    Args:
        source: where they come from.
        files: which.
        blobs: the source's, checked.

    Raises:
        InputError: PVB723, an archive or image lacks one; PVB725, one is no file.
        FormatError: PVB720 to PVB724, an archive is damaged, unsafe, or more than is credible.
    """
    wanted = list(files)
    what = source.location or source.digest
    inside = {file.path: file.member for file in wanted if file.member is not None}
    if source.kind is SourceKind.SELFTEST:
        stand_ins = selftest()
        return {file.path: stand_ins[f"usr/local/bin/{file.path.rpartition('/')[2]}"].data for file in wanted}
    if source.kind is SourceKind.IMAGE:
        found = read_image_paths(blobs, inside.values(), what=what)
        # the one file that is in no image: what a runtime needs beside the root of the bundle
        made = {file.path: runtime_config(f"/{min(inside.values())}") for file in wanted if file.member is None}
    else:
        found = read_members(blobs[0], inside.values(), what=what) if inside else {}
        made = {file.path: blobs[0].read_bytes() for file in wanted if file.member is None}
    return made | {path: found[member].data for path, member in inside.items()}


def runtime_config(program: str) -> bytes:
    """Return the OCI runtime configuration of a bundle that runs one program (runtime specification 1.0.2, config.md).

    kata-agent takes the pause container's arguments from it.

    Args:
        program: its path in the bundle's root.
    """
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": _PAUSE_ID, "gid": _PAUSE_ID},
            "args": [program],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
        },
        "root": {"path": "rootfs", "readonly": True},
    }
    return (json.dumps(config, indent=2) + "\n").encode()
