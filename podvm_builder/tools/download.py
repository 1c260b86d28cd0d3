"""Files by URL: into the store of blobs, bounded and checked."""

from __future__ import annotations

import tempfile
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

from podvm_builder.errors import InputError, Lacking, RemoteError
from podvm_builder.tools.files import writing
from podvm_builder.tools.oci.store import BlobStore

CODE = "PVB739"


def check_url(url: str) -> None:
    """See that an address may be fetched from: https, or http on this machine.

    Raises:
        InputError: PVB739, it may not.
    """
    from podvm_builder.tools.oci.hosts import is_loopback

    try:
        parts = urlsplit(url)
        whole = bool(parts.hostname) and parts.username is None and parts.password is None and url.isprintable()
    except ValueError:
        whole = False
    if whole and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.netloc))):
        return
    raise InputError(
        f"`{url}` is no address to fetch a component from",
        code=CODE,
        hint="give https://HOST/PATH without a user; plain http is for this machine alone",
    )


def download(url: str, *, store: BlobStore, limit: int) -> tuple[str, int]:
    """Put what an address serves into the store, and return its digest, ``sha256:…``, and size.

    Args:
        url: see :func:`check_url`.
        store: takes it.
        limit: bytes; more is refused.

    Raises:
        InputError: PVB739, the address may not be used, or serves more than the limit.
        RemoteError: PVB704 or PVB706, it does not answer, or refuses.
        Lacking: PVB710, the library for it is not installed; PVB321, PVB322.
    """
    check_url(url)
    try:
        from podvm_builder.tools.oci.hosts import Hosts
        from podvm_builder.tools.oci.http import Http, Request
        from podvm_builder.tools.oci.policy import Failure, Retries, Timeouts, insist
    except ModuleNotFoundError as error:
        if error.name not in ("requests", "urllib3"):
            raise
        raise Lacking(
            f"fetching `{url}` needs `{error.name}`, which is not installed",
            code="PVB710",
            hint="pip install 'podvm-build[oci]'",
        ) from None
    http = Http(hosts=Hosts(), timeouts=Timeouts())

    def attempt() -> tuple[str, int]:
        with tempfile.NamedTemporaryFile(dir=store.root, prefix=".url-") as file:
            response = http.send(Request(method="GET", url=url, headers={}))
            if response.status_code != 200:
                raise http.refused(response, "PVB706")
            total = 0
            with response:
                for piece in http.pieces(response):
                    total += len(piece)
                    if total > limit:
                        raise InputError(
                            f"`{url}` serves more than {limit >> 20} MiB", code=CODE, hint="is it the right file?"
                        )
                    with writing(store.root):
                        file.write(piece)
            said = response.headers.get("content-length", "")
            if said.isdigit() and int(said) != total:
                short = RemoteError(f"`{url}` broke off after {total} of {said} bytes", code="PVB704")
                raise Failure(short, retry=True)
            file.flush()
            return store.add_file(Path(file.name))

    with writing(store.root):
        store.root.mkdir(parents=True, exist_ok=True)
    try:
        return insist(attempt, Retries(), Event())
    finally:
        http.close()
