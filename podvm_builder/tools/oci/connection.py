"""A registry's endpoints: addresses by ``oras``, requests of our own.

``oras`` (oras-py) supplies the protocol's addresses here, and the uploads in :mod:`podvm_builder.tools.oci.upload`. Its
requests and its pulls are not fit for what goes into a trust boundary. They send the name and password to whatever
address a challenge names, whatever its scheme, know tokens alone, keep one token for all repositories and threads, have
no timeouts, retry what cannot succeed, and cannot ask for a range. Its ``get_manifest`` gives no bytes whose digest
could be checked, and its ``download_blob`` checks none.
"""

from __future__ import annotations

from collections.abc import Mapping

import requests
from oras.container import Container

from podvm_builder.errors import RemoteError
from podvm_builder.tools.oci.auth import Authority
from podvm_builder.tools.oci.config import DOCKER_HUB
from podvm_builder.tools.oci.hosts import Hosts
from podvm_builder.tools.oci.http import PROTOCOL, Http, Request, origin
from podvm_builder.tools.oci.policy import Failure

NOT_FOUND = "PVB703"
_HUB_HOST = "registry-1.docker.io"


class Connection:
    """One repository at one host."""

    def __init__(self, host: str, repository: str, *, http: Http, hosts: Hosts, authority: Authority) -> None:
        """Open nothing yet."""
        self.http = http
        self._authority = authority
        self.repository = repository
        self.host = host
        self.plain = hosts.plain(host)
        self.prefix = "http" if self.plain else "https"
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
            response = self.http.send(
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
                raise self._authority.denied(self.http.said(response), note=self._authority.note(self.repository))
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
        return self.http.refused(response, PROTOCOL)


def _container(registry: str, repository: str) -> Container:
    """Return oras's form of a name; its parser would take a registry without a dot for a part of the repository."""
    namespace, _, name = repository.rpartition("/")
    container = Container(name)
    container.registry, container.namespace, container.repository = registry, namespace or None, name
    return container
