"""Where the record of what verifiers were told is kept: a folder of files, or an artifact in a registry.

A folder is a natural thing to keep in version control. In a registry, a tag points at an artifact with one layer an entry;
the tag moves when an entry is added, and old manifests still say what the record was. Two who add at once to a registry
can lose one entry, as they can lose values in the verifier itself; in a folder, a number is taken only once.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from podvm_builder.errors import InputError, Place
from podvm_builder.refvalues.ledger import CODE, Entry, RegisteredImage, decode_chain, encode_entry, next_entry
from podvm_builder.refvalues.merge import Change
from podvm_builder.tools.files import refuse_file, writing
from podvm_builder.tools.inputs import open_input

if TYPE_CHECKING:
    from podvm_builder.formats.oci import Reference
    from podvm_builder.tools.oci import RegistryClient

SCHEME = "oci://"
ARTIFACT_TYPE = "application/vnd.podvm.refvalues-history.v1"
ENTRY_TYPE = "application/vnd.podvm.refvalues-history.entry.v1+json"
MAX_ENTRY = 4 << 20
"""Bytes."""
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_TITLE = "org.opencontainers.image.title"


class History(Protocol):
    """A chain of entries that can only grow."""

    def chain(self) -> list[bytes]:
        """Return the entries as they are written, in order; none where nothing was recorded yet."""

    def add(self, chain: Sequence[bytes], name: str, entry: bytes) -> None:
        """Write one more entry.

        Args:
            chain: the entries before it.
            name: of its file.
            entry: as it is written.
        """


class FolderHistory:
    """Entries as files ``000001-push.json`` …

    Args:
        folder: made with the first entry where it is absent.
    """

    def __init__(self, folder: Path) -> None:
        """Keep the folder.

        Raises:
            InputError: PVB324, a file stands in its place.
        """
        refuse_file(folder)
        self._folder = folder

    def chain(self) -> list[bytes]:
        """Return the entries.

        Raises:
            InputError: PVB320, one cannot be read; PVB667, a file is none of the history.
        """
        if not self._folder.is_dir():
            return []
        found = []
        for path in sorted(self._folder.glob("[0-9]*-*.json")):
            with open_input(path) as file:
                data = file.read(MAX_ENTRY + 1)
            if len(data) > MAX_ENTRY:
                raise InputError(
                    f"an entry is larger than {MAX_ENTRY} bytes", code=CODE, place=Place(file=str(path))
                )
            found.append(data)
        return found

    def add(self, chain: Sequence[bytes], name: str, entry: bytes) -> None:
        """Write the file, unless one of its number is there already.

        Raises:
            InputError: PVB667, somebody else has added an entry meanwhile.
            Lacking: PVB321 or PVB322, it cannot be written.
        """
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            fd, made = tempfile.mkstemp(dir=self._folder, prefix=".entry.")
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(entry)
                    file.flush()
                    os.fchmod(file.fileno(), 0o644)
                    os.fsync(file.fileno())
                if any(self._folder.glob(f"{name.partition('-')[0]}-*.json")):
                    raise InputError(
                        f"`{self._folder}` has got another entry meanwhile", code=CODE, hint="run the command again"
                    )
                # a link fails where a name is taken, so that nothing is ever replaced
                os.link(made, self._folder / name)
            finally:
                Path(made).unlink()


class RegistryHistory:
    """Entries as layers of an artifact.

    Args:
        client: of the registry.
        reference: with a tag, which moves.
    """

    def __init__(self, client: RegistryClient, reference: Reference) -> None:
        """Keep the parts; nothing is asked."""
        self._client = client
        self._reference = reference
