"""What refers to a manifest: OCI Distribution Specification 1.1, "Listing Referrers".

A registry that does not know the request answers 404; what refers is then in an index with the tag ``sha256-<hex>``,
which clients keep (its "Referrers Tag Schema"). Entries of such an index may lack their artifact type; it is then read
from the manifest that the entry names, as the specification defines it.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode, urljoin

from podvm_builder.errors import FormatError, RemoteError
from podvm_builder.formats.oci import MAX_MANIFEST, OCI_INDEX, Index, Manifest, parse_manifest
from podvm_builder.model.oci import Descriptor
from podvm_builder.tools.oci.connection import NOT_FOUND, Connection
from podvm_builder.tools.oci.http import PROTOCOL, Http, origin
from podvm_builder.tools.oci.policy import Failure

_UNKNOWN = {404, 405, 501}
_MAX_PAGES = 64

Read = Callable[[str], tuple[bytes, str | None]]
"""Gets a manifest by tag or digest."""


def list_referrers(
    source: Connection, digest: str, artifact_type: str | None, *, read: Read, http: Http
) -> list[Descriptor]:
    """Return the descriptors of what refers to a digest.

    Raises:
        Failure: PVB702 to PVB706.
    """
    entries = _by_request(source, digest, artifact_type, http)
    if entries is None:
        entries = _by_tag(digest, read, source)
    if artifact_type is None:
        return entries
    return [entry for entry in entries if (entry.artifact_type or _type_of(entry, read, source)) == artifact_type]


def _by_request(source: Connection, digest: str, artifact_type: str | None, http: Http) -> list[Descriptor] | None:
    query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
    url = source.referrers_url(digest) + query
    found: list[Descriptor] = []
    for _ in range(_MAX_PAGES):
        response = source.ask("GET", url, headers={"Accept": OCI_INDEX})
        if response.status_code in _UNKNOWN and not found:
            response.close()
            return None
        if response.status_code != 200:
            raise source.failed(response, f"list of what refers to `{digest}`")
        following = response.links.get("next", {}).get("url")
        found += _index(http.body(response, MAX_MANIFEST), OCI_INDEX, source).manifests
        if not following:
            return found
        following = urljoin(url, following)
        if origin(following) != origin(url):
            raise Failure(RemoteError(f"the next page of `{source.host}` is elsewhere", code=PROTOCOL))
        url = following
    raise Failure(RemoteError(f"`{source.host}` has more than {_MAX_PAGES} pages of referrers", code=PROTOCOL))


def _by_tag(digest: str, read: Read, source: Connection) -> list[Descriptor]:
    try:
        data, media_type = read(digest.replace(":", "-"))
    except Failure as failure:
        if failure.error.code == NOT_FOUND:
            return []
        raise
    return list(_index(data, media_type, source).manifests)


def _index(data: bytes, media_type: str | None, source: Connection) -> Index:
    document = _parsed(data, media_type, source)
    if not isinstance(document, Index):
        raise Failure(RemoteError(f"`{source.host}` answered with no index of referrers", code=PROTOCOL))
    return document


def _type_of(entry: Descriptor, read: Read, source: Connection) -> str | None:
    data, media_type = read(entry.digest)
    document = _parsed(data, media_type, source)
    if isinstance(document, Manifest):
        return document.artifact_type or document.config.media_type
    return document.artifact_type


def _parsed(data: bytes, media_type: str | None, source: Connection) -> Manifest | Index:
    try:
        return parse_manifest(data, media_type)
    except FormatError as error:
        raise Failure(RemoteError(f"`{source.host}` sent no manifest: {error.message}", code=PROTOCOL)) from None
