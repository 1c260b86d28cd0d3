"""Uploads, by ``oras``, whose own requests are replaced: :mod:`podvm_builder.tools.oci.connection` says why.

Manifests are not uploaded through it: it writes them anew, and a digest is over the bytes that one has.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests
from oras.provider import Registry

from podvm_builder.errors import RemoteError
from podvm_builder.model.oci import Descriptor
from podvm_builder.tools.oci.connection import Connection
from podvm_builder.tools.oci.policy import Failure

PUSH_REFUSED = "PVB709"
_CHUNK = 16 << 20


class _Uploads(Registry):  # type: ignore[misc]  # oras has no types
    """The registry of oras with our requests."""

    def __init__(self, target: Connection) -> None:
        super().__init__(hostname=target.host, insecure=target.plain)
        self._target = target

    def do_request(  # noqa: PLR0917 - the signature is that of oras
        self,
        url: str,
        method: str = "GET",
        data: Any = None,
        headers: dict[str, str] | None = None,
        json: Any = None,
        stream: bool = False,
    ) -> requests.Response:
        """Make a request that must be accepted; of a HEAD, 404 is an answer, too."""
        assert json is None  # noqa: S101 - only of functions that are not used
        del stream  # no body is read before it is wanted
        return _ask(self._target, url, method, data, headers or {})


def put_blob(target: Connection, path: Path, descriptor: Descriptor) -> None:
    """Upload a blob if it is not there.

    Raises:
        Failure: PVB709 it was not taken, or why the registry could not be asked.
    """
    layer = {"digest": descriptor.digest, "size": descriptor.size}
    uploads = _Uploads(target)
    try:
        if not uploads.blob_exists(layer, target.container):
            uploads.chunked_upload(str(path), target.container, layer, chunk_size=_CHUNK)
    except ValueError as error:
        raise Failure(RemoteError(f"`{target.host}` did not take a blob: {error}", code=PUSH_REFUSED)) from None


def put_manifest(target: Connection, name: str, data: bytes, media_type: str) -> None:
    """Upload a manifest under a tag or its digest, byte for byte.

    Raises:
        Failure: PVB709 it was not taken, or why the registry could not be asked.
    """
    _ask(target, target.manifest_url(name), "PUT", data, {"Content-Type": media_type}).close()


def _ask(target: Connection, url: str, method: str, data: Any, headers: dict[str, str]) -> requests.Response:
    response = target.ask(method, url, headers=headers, data=data, actions="pull,push")
    if response.status_code >= 400 and not (method == "HEAD" and response.status_code == 404):
        raise target.http.refused(response, PUSH_REFUSED)
    return response
