"""Where the record of what verifiers were told is kept: a folder of files, or an artifact in a registry.

A folder is a natural thing to keep in version control. In a registry, a tag points at an artifact with one layer an
entry; the tag moves when an entry is added, and old manifests still say what the record was. Two who add at once to a
registry can lose one entry, as they can lose values in the verifier itself; in a folder, a number is taken only once.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from podvm_builder.errors import InputError, Place, RemoteError
from podvm_builder.formats.oci import OCI_MANIFEST, Manifest, descriptor_to_json, parse_manifest
from podvm_builder.refvalues.ledger import (
    CODE,
    PUSH,
    Entry,
    RegisteredImage,
    active_images,
    decode_chain,
    encode_entry,
    next_entry,
    same_image,
)
from podvm_builder.refvalues.merge import Change
from podvm_builder.tools.files import refuse_file, writing
from podvm_builder.tools.inputs import open_input

if TYPE_CHECKING:
    from podvm_builder.model.oci import Descriptor, Reference
    from podvm_builder.tools.oci import RegistryClient

SCHEME = "oci://"
ARTIFACT_TYPE = "application/vnd.podvm.refvalues-history.v1"
ENTRY_TYPE = "application/vnd.podvm.refvalues-history.entry.v1+json"
MAX_ENTRY = 4 << 20
"""Bytes."""
_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_NOT_THERE = "PVB703"
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
        if not os.path.isdir(self._folder):  # noqa: PTH112 - pathlib's raises where the path cannot be looked at
            return []
        found = []
        for path in sorted(self._folder.glob("[0-9]*-*.json")):
            with open_input(path) as file:
                data = file.read(MAX_ENTRY + 1)
            if len(data) > MAX_ENTRY:
                raise InputError(f"an entry is larger than {MAX_ENTRY} bytes", code=CODE, place=Place(file=str(path)))
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
        self._layers: list[Descriptor] = []

    def chain(self) -> list[bytes]:
        """Return the entries; none where the registry has no such tag.

        Raises:
            RemoteError: PVB702 to PVB706, it cannot be asked.
            InputError: PVB667, the tag is of something else.
        """
        try:
            descriptor = self._client.resolve(self._reference)
        except RemoteError as error:
            if error.code != _NOT_THERE:
                raise
            return []
        manifest = parse_manifest(self._client.manifest(self._reference, descriptor.digest))
        if not isinstance(manifest, Manifest) or manifest.artifact_type != ARTIFACT_TYPE:
            raise InputError(
                f"`{self._reference}` is no history: it is another kind of artifact",
                code=CODE,
                hint="name a tag of its own",
            )
        self._layers = list(manifest.layers)
        return [path.read_bytes() for path in self._client.fetch_all(self._reference, self._layers)]

    def add(self, chain: Sequence[bytes], name: str, entry: bytes) -> None:
        """Push the entry and a manifest with it, and move the tag.

        Raises:
            RemoteError: PVB702, PVB704 or PVB709, the registry did not take it.
        """
        with tempfile.TemporaryDirectory(prefix="podvm-build-") as folder:
            config, file = Path(folder) / "config", Path(folder) / name
            config.write_bytes(_EMPTY)
            file.write_bytes(entry)
            empty = self._client.push_blob(self._reference, config, _EMPTY_TYPE)
            layer = self._client.push_blob(self._reference, file, ENTRY_TYPE)
        layers = [*self._layers, replace(layer, annotations={_TITLE: name})]
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": ARTIFACT_TYPE,
            "config": descriptor_to_json(empty),
            "layers": [descriptor_to_json(one) for one in layers],
        }
        self._client.push_manifest(self._reference, json.dumps(manifest, separators=(",", ":")).encode("ascii"))
        self._layers = layers


@contextmanager
def open_history(place: str) -> Iterator[History]:
    """Give the history at a place.

    Args:
        place: a folder, or ``oci://HOST/REPOSITORY:TAG``.

    Raises:
        InputError: PVB324 or PVB700, it is no such place; PVB667, the reference has a digest.
        Lacking: PVB710, the libraries for registries are not installed.
    """
    if not place.strip():
        raise InputError(
            "the history has an empty name", code="PVB324", hint=f"name a folder, or {SCHEME}HOST/REPOSITORY:TAG"
        )
    if not place.startswith(SCHEME):
        yield FolderHistory(Path(place))
        return
    from podvm_builder.model.oci import Reference
    from podvm_builder.tools.oci import BlobStore, DockerConfig, RegistryClient

    reference = Reference.parse(place.removeprefix(SCHEME))
    if reference.digest is not None or reference.tag is None:
        raise InputError(
            f"`{place}` cannot grow", code=CODE, hint=f"name a tag: {SCHEME}HOST/REPOSITORY:TAG, without a digest"
        )
    with (
        tempfile.TemporaryDirectory(prefix="podvm-build-") as store,
        RegistryClient(store=BlobStore(Path(store)), config=DockerConfig.load()) as client,
    ):
        yield RegistryHistory(client, reference)


def record(
    history: History, *, action: str, where: str, images: Sequence[RegisteredImage], changes: Sequence[Change]
) -> Entry | None:
    """Add an entry, at the time of now, unless it would say what the history says already.

    Returns:
        The entry; None where nothing was changed and the history knows these images as they are now.

    Raises:
        FormatError: PVB667, what is there is no whole history.
        InputError, RemoteError, Lacking: it cannot be read or written.
    """
    chain = history.chain()
    active = active_images(decode_chain(chain), where)
    known = all(any(same_image(one, other) for other in active) == (action == PUSH) for one in images)
    if known and not any(change.is_change for change in changes):
        return None
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    entry = next_entry(chain, time=now, action=action, where=where, images=images, changes=changes)
    history.add(chain, entry.file, encode_entry(entry))
    return entry
