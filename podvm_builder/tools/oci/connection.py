"""A registry's endpoints, through ``oras``, with requests of our own below.

``oras`` (oras-py) supplies the addresses and the uploads. Its own requests are not fit for what goes into a trust
boundary, and are replaced by overriding its one function that makes them: they send the name and password to whatever
address a challenge names, whatever its scheme, know tokens alone, keep one token for all repositories and threads, have
no timeouts, retry what cannot succeed, and cannot ask for a range. Nor are its ``get_manifest`` and ``download_blob``
used: the former gives no bytes whose digest could be checked, the latter checks none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from oras.container import Container
from oras.provider import Registry

from podvm_builder.errors import RemoteError
from podvm_builder.model.oci import Descriptor
from podvm_builder.tools.oci.auth import Authority
from podvm_builder.tools.oci.config import DOCKER_HUB
from podvm_builder.tools.oci.http import PROTOCOL, Http, Request, origin
from podvm_builder.tools.oci.policy import Failure, Hosts

NOT_FOUND = "PVB703"
PUSH_REFUSED = "PVB709"
_HUB_HOST = "registry-1.docker.io"
_UPLOAD_CHUNK = 16 << 20


class Connection(Registry):  # type: ignore[misc]  # oras has no types
    """One repository at one host."""

    def __init__(self, host: str, repository: str, *, http: Http, hosts: Hosts, authority: Authority) -> None:
        """Open nothing yet."""
        plain = hosts.plain(host)
        super().__init__(hostname=host, insecure=plain)
        self._http = http
        self._authority = authority
        self.repository = repository
        self.host = host
        self.container = _container(_HUB_HOST if host == DOCKER_HUB else host, repository)

    def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        actions: str = "pull",
    ) -> requests.Response:
        """Return the answer to one request, whatever its status but 401 and 403; log in first where that is asked for.

        Raises:
            Failure: nothing came back, or the registry does not let us in.
        """
        ours = origin(url) == origin(f"{self.prefix}://{self.container.registry}")
        authorization = self._authority.known(self.repository, actions) if ours else None
        for attempt in range(3):
            response = self._http.send(
                Request(method=method, url=url, headers=headers or {}, data=data, authorization=authorization)
            )
            if response.status_code == 401 and ours and attempt < 2 and "www-authenticate" in response.headers:
                challenge = response.headers["www-authenticate"]
                response.close()
                authorization = self._authority.answer(
                    challenge, repository=self.repository, actions=actions, refused=authorization
                )
                continue
            if response.status_code in (401, 403):
                raise self._authority.denied(self._http.said(response), note=self._authority.note(self.repository))
            return response
        raise AssertionError("the last attempt returns or raises")

    def manifest_url(self, name: str) -> str:
        """Return the address of the manifest of a tag or a digest."""
        return f"{self.prefix}://{self.container.manifest_url(name)}"

    def blob_url(self, digest: str) -> str:
        """Return the address of a blob."""
        return f"{self.prefix}://{self.container.get_blob_url(digest)}"

    def referrers_url(self, digest: str) -> str:
        """Return the address of the list of what refers to a manifest."""
        return f"{self.prefix}://{self.container.registry}/v2/{self.repository}/referrers/{digest}"

    def failed(self, response: requests.Response, what: str) -> Failure:
        """Return the failure that an answer other than the one hoped for stands for."""
        if response.status_code == 404:
            response.close()
            return Failure(
                RemoteError(
                    f"`{self.host}` has no {what}", code=NOT_FOUND, hint="see whether name, tag and digest are right"
                )
            )
        return self._http.refused(response, PROTOCOL)

    def do_request(  # noqa: PLR0917 - the signature is that of oras
        self,
        url: str,
        method: str = "GET",
        data: Any = None,
        headers: dict[str, str] | None = None,
        json: Any = None,
        stream: bool = False,
    ) -> requests.Response:
        """Make the requests of oras's own functions, which are those of an upload.

        Raises:
            Failure: it was not accepted.
        """
        assert json is None  # noqa: S101 - only of functions that are not used
        del stream  # no body is read before it is wanted
        response = self.ask(method, url, headers=headers, data=data, actions="pull,push")
        if response.status_code >= 400 and not (method == "HEAD" and response.status_code == 404):
            raise self._http.refused(response, PUSH_REFUSED)
        return response

    def upload(self, path: Path, descriptor: Descriptor) -> None:
        """Upload a blob if it is not there.

        Raises:
            Failure: PVB709 or why it could not be asked.
        """
        layer = {"digest": descriptor.digest, "size": descriptor.size}
        try:
            if not self.blob_exists(layer, self.container):
                self.chunked_upload(str(path), self.container, layer, chunk_size=_UPLOAD_CHUNK)
        except ValueError as error:
            raise Failure(RemoteError(f"`{self.host}` did not take a blob: {error}", code=PUSH_REFUSED)) from None

    def put_manifest(self, name: str, data: bytes, media_type: str) -> None:
        """Upload a manifest, byte for byte: its digest is over these.

        Raises:
            Failure: PVB709 or why it could not be asked.
        """
        self.do_request(self.manifest_url(name), "PUT", data=data, headers={"Content-Type": media_type}).close()


def _container(registry: str, repository: str) -> Container:
    """Return oras's form of a name; its parser would take a registry without a dot for a part of the repository."""
    namespace, _, name = repository.rpartition("/")
    container = Container(name)
    container.registry, container.namespace, container.repository = registry, namespace or None, name
    return container
