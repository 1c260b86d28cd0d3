"""From an address and credentials to a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from podvm_builder.errors import InputError
from podvm_builder.publish.address import Address
from podvm_builder.publish.admin import CODE as CREDENTIALS
from podvm_builder.publish.kbs import KbsStore
from podvm_builder.publish.rvps import RvpsStore
from podvm_builder.publish.store import Store
from podvm_builder.publish.web import Client
from podvm_builder.refvalues.versions import Version, parse_version

DEFAULT_TIMEOUT = 30.0
"""Seconds for one request."""

_BY_NAME: Version = (0, 16)
"""Since this version, values are asked for by name, before it all at once."""
_REST: Version = (0, 14)
"""Since this version, a KBS registers reference values."""
_BEARER: Version = (0, 21)
"""Since this version, a KBS takes the bearer token of an identity, before it one that the administrator signed."""


@contextmanager
def open_store(
    address: Address,
    *,
    trustee: str,
    token: str | None = None,
    token_is_signed: bool = False,
    ca: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> Iterator[Store]:
    """Give the store behind an address; nothing is sent before it is read.

    Args:
        address: of a KBS or an RVPS.
        trustee: version, which decides how values are read and what credentials are taken.
        token: what the administrator shows.
        token_is_signed: whether the token was signed with the administrator's key.
        ca: PEM certificates that alone are trusted.
        timeout: seconds for one request.

    Raises:
        InputError: these credentials (PVB657), this version (PVB603) or these certificates (PVB656) do not go with it.
        Lacking: PVB658, a library is not installed.
    """
    version = parse_version(trustee)
    if ca is not None and not address.is_encrypted:
        raise InputError(
            f"`{address}` is not encrypted, so no certificate authority is asked",
            code="PVB656",
            hint=f"give `{address.scheme}s://`, or leave `--ca-file` out",
        )
    by_name = version >= _BY_NAME
    if address.is_grpc:
        if token is not None:
            raise InputError(
                "an RVPS knows no administrator", code=CREDENTIALS, hint="leave the credentials out, or give a KBS"
            )
        with RvpsStore(address, ca=ca, timeout=timeout, by_name=by_name) as store:
            yield store
        return
    if version < _REST:
        raise InputError(
            f"the KBS of Trustee {trustee} registers no reference values",
            code="PVB603",
            hint="give the RVPS itself: grpc://127.0.0.1:50003",
        )
    if token_is_signed and version >= _BEARER:
        raise InputError(
            f"the KBS of Trustee {trustee} takes no token that is signed with the administrator's key",
            code=CREDENTIALS,
            hint="give the administrator's token with `--admin-token`, or say the version that runs with `--trustee`",
        )
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    client = Client(address, headers=headers, ca=ca, timeout=timeout)
    yield KbsStore(client, where=str(address), by_name=by_name)
