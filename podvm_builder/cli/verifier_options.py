"""Options of commands that talk to a verifier, and the store that they lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podvm_builder.cli.input_files import read_file

if TYPE_CHECKING:
    from podvm_builder.publish.store import Store

_MAX_SECRET = 64 << 10
_MAX_CERTIFICATES = 4 << 20
_FILE = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """Where values go, and what is shown there."""

    url: str
    admin_token: Path | None
    admin_key: Path | None
    ca_file: Path | None
    timeout: float
    insecure_http: bool


def verifier_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options, as one argument ``verifier``."""

    @wraps(command)
    def wrapped(
        *,
        url: str,
        admin_token: Path | None,
        admin_key: Path | None,
        ca_file: Path | None,
        timeout: float,
        insecure_http: bool,
        **rest: Any,
    ) -> Any:
        verifier = Verifier(
            url=url,
            admin_token=admin_token,
            admin_key=admin_key,
            ca_file=ca_file,
            timeout=timeout,
            insecure_http=insecure_http,
        )
        return command(verifier=verifier, **rest)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


_OPTIONS = (
    click.option(
        "--url", required=True, metavar="URL", help="A KBS (https://HOST:PORT) or an RVPS (grpc://HOST:PORT)."
    ),
    click.option("--admin-token", type=_FILE, metavar="FILE", help="The administrator's bearer token, for a KBS."),
    click.option(
        "--admin-key", type=_FILE, metavar="FILE", help="Ed25519 private key that signs a token, for a KBS up to 0.20."
    ),
    click.option("--ca-file", type=_FILE, metavar="FILE", help="Certificate authorities to trust, PEM."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True, max=3600),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="How long one request may take.",
    ),
    click.option("--insecure-http", is_flag=True, help="Talk to another machine without encryption."),
)


@contextmanager
def opened(verifier: Verifier, *, trustee: str) -> Iterator[Store]:
    """Give the store that the options lead to.

    Args:
        verifier: the options.
        trustee: version that runs there.

    Raises:
        InputError: an option is wrong, or does not go with another.
        Lacking: a library is not installed.
    """
    from podvm_builder.publish.address import parse_address
    from podvm_builder.publish.connect import open_store

    address = parse_address(verifier.url, insecure=verifier.insecure_http)
    with open_store(
        address,
        trustee=trustee,
        token=_token(verifier),
        token_is_signed=verifier.admin_key is not None,
        ca=None if verifier.ca_file is None else _certificates(verifier.ca_file),
        timeout=verifier.timeout,
    ) as store:
        yield store


def _token(verifier: Verifier) -> str | None:
    import time

    from podvm_builder.errors import InputError
    from podvm_builder.publish.admin import CODE, read_token, sign_token

    if verifier.admin_token is not None and verifier.admin_key is not None:
        raise InputError(
            "a token and a key that signs one are given", code=CODE, hint="give `--admin-token` or `--admin-key`"
        )
    if verifier.admin_token is not None:
        path = verifier.admin_token
        return read_token(read_file(path, limit=_MAX_SECRET), name=f"`{path}`")
    if verifier.admin_key is not None:
        path = verifier.admin_key
        return sign_token(read_file(path, limit=_MAX_SECRET), name=f"`{path}`", now=int(time.time()))
    return None


def _certificates(path: Path) -> str:
    from podvm_builder.errors import InputError

    try:
        return read_file(path, limit=_MAX_CERTIFICATES).decode("ascii")
    except UnicodeDecodeError:
        raise InputError(f"`{path}` is not PEM", code="PVB656", hint="give certificates in PEM") from None
