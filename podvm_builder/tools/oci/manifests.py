"""Manifests of a registry: their bytes, and what they are."""

from __future__ import annotations

import hashlib

from podvm_builder.errors import FormatError, RemoteError
from podvm_builder.formats.oci import ACCEPTED, MAX_MANIFEST, parse_manifest
from podvm_builder.model.oci import Descriptor
from podvm_builder.tools.oci.connection import Connection
from podvm_builder.tools.oci.http import PROTOCOL
from podvm_builder.tools.oci.policy import Failure
from podvm_builder.tools.oci.store import MISMATCH


def get_manifest(source: Connection, name: str) -> tuple[bytes, str | None]:
    """Return a manifest's bytes and the type that it was sent as.

    Args:
        source: whom to ask.
        name: a tag, or a digest, which the bytes are checked against.

    Raises:
        Failure: PVB702 to PVB706.
    """
    response = source.ask("GET", source.manifest_url(name), headers={"Accept": ", ".join(ACCEPTED)})
    if response.status_code != 200:
        raise source.failed(response, f"`{source.repository}` with the tag or digest `{name}`")
    data = source.http.body(response, MAX_MANIFEST)
    actual = digest_of(data)
    told = response.headers.get("docker-content-digest", "")
    for wanted in (name, told):
        if wanted.startswith("sha256:") and wanted != actual:
            raise Failure(
                RemoteError(
                    f"what `{source.host}` sent as manifest `{wanted}` is not that: it has the digest `{actual}`",
                    code=MISMATCH,
                    hint="do not use this registry until its owner knows why",
                )
            )
    return data, response.headers.get("content-type")


def describe(data: bytes, media_type: str) -> Descriptor:
    """Return the descriptor of a document."""
    return Descriptor(media_type=media_type, digest=digest_of(data), size=len(data))


def digest_of(data: bytes) -> str:
    """Return the digest of a document."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def type_of(data: bytes, sent: str | None) -> str:
    """Return the media type of a document that a registry sent.

    Args:
        data: the document.
        sent: the type that it was sent as, where that is known.

    Raises:
        RemoteError: PVB706, it is no manifest.
    """
    try:
        return parse_manifest(data, sent).media_type
    except FormatError as error:
        raise RemoteError(f"the registry sent no manifest: {error.message}", code=PROTOCOL) from None
