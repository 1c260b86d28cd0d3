"""From the blobs of a source to the files that it puts into an image."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from podvm_builder.build.components.unpack import read_image_path, read_members
from podvm_builder.errors import InputError
from podvm_builder.guest.components import selftest
from podvm_builder.model.components import Source, SourceKind

MAX_FILE = 512 << 20
"""Bytes of one file."""
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
        InputError: PVB746, an archive or image lacks one; PVB733, there is no such stand-in.
        FormatError: an archive is damaged.
    """
    wanted = list(files)
    if source.kind is SourceKind.SELFTEST:
        stand_ins = selftest()
        return {file.path: stand_ins[f"usr/local/bin/{file.path.rpartition('/')[2]}"].data for file in wanted}
    if source.kind is SourceKind.IMAGE:
        return {file.path: _of_image(source, file, wanted, blobs) for file in wanted}
    return _of_archive(source, wanted, blobs[0])


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


def _of_image(source: Source, file: Place, files: Sequence[Place], blobs: Sequence[Path]) -> bytes:
    if file.member is None:
        # the one file that is in no image: what a runtime needs beside the root of the bundle
        return runtime_config(f"/{next(one.member for one in files if one.member is not None)}")
    data = read_image_path(blobs, file.member, limit=MAX_FILE)
    if data is None:
        raise InputError(
            f"`{source.location}` has no file `/{file.member}`",
            code="PVB746",
            hint="`file` is a path inside the image; `skopeo inspect` and `podman run` show what it holds",
        )
    return data


def _of_archive(source: Source, files: Sequence[Place], blob: Path) -> dict[str, bytes]:
    whole = {file.path: blob.read_bytes() for file in files if file.member is None}
    members = [file.member for file in files if file.member is not None]
    if not members:
        return whole
    found = read_members(blob, members, limit=MAX_FILE)
    for member in members:
        if member not in found:
            raise InputError(
                f"the archive `{source.location or source.digest}` has no file `{member}`",
                code="PVB746",
                hint="`file` is a path inside the archive; `tar -tf` lists them",
            )
    return whole | {file.path: found[file.member] for file in files if file.member is not None}
