"""Options of commands that tell a verifier, and the store that they lead to."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podvm_builder.cli.input_files import read_file
from podvm_builder.cli.refvalues_options import warn_of_expiration
from podvm_builder.errors import InputError
from podvm_builder.refvalues.registry import DEFAULTS, ExportOptions

if TYPE_CHECKING:
    from podvm_builder.publish.store import Store

_MAX_SECRET = 64 << 10
_MAX_CERTIFICATES = 4 << 20
_FILE = click.Path(path_type=Path)
_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """Where values go, and what is shown there."""

    url: str | None
    manifest: Path | None
    admin_token: Path | None
    admin_key: Path | None
    ca_file: Path | None
    timeout: float | None
    insecure_http: bool
    expires: str | None
    name: str | None
    namespace: str | None


_OPTIONS = (
    click.option("--url", metavar="URL", help="A KBS (https://HOST:PORT) or an RVPS (grpc://HOST:PORT)."),
    click.option(
        "--manifest", type=_FILE, metavar="FILE", help="The operator's ConfigMap as a file, made where it is absent."
    ),
    click.option("--admin-token", type=_FILE, metavar="FILE", help="The administrator's bearer token, for a KBS."),
    click.option(
        "--admin-key", type=_FILE, metavar="FILE", help="Ed25519 private key that signs a token, for a KBS up to 0.20."
    ),
    click.option("--ca-file", type=_FILE, metavar="FILE", help="Certificate authorities to trust, PEM."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True, max=3600),
        metavar="SECONDS",
        help=f"How long one request may take.  [default: {_TIMEOUT:g}]",
    ),
    click.option("--insecure-http", is_flag=True, help="Talk to another machine without encryption."),
    click.option(
        "--expires", metavar="TIME", help=f"Manifest: expiration of records, UTC.  [default: {DEFAULTS.expiration}]"
    ),
    click.option("--name", help=f"Manifest: name of a new ConfigMap.  [default: {DEFAULTS.name}]"),
    click.option("--namespace", help=f"Manifest: namespace of a new ConfigMap.  [default: {DEFAULTS.namespace}]"),
)


def verifier_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options, as one argument ``verifier``."""
    names = Verifier.__dataclass_fields__

    @wraps(command)
    def wrapped(**given: Any) -> Any:
        verifier = Verifier(**{name: given.pop(name) for name in names})
        return command(verifier=verifier, **given)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


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
    if (verifier.url is None) == (verifier.manifest is None):
        raise _usage("where the values go is said by `--url` or by `--manifest`, one of them")
    _refuse_unheeded(verifier)
    if verifier.manifest is not None:
        from podvm_builder.publish.configmap import ConfigMapStore
        from podvm_builder.refvalues.versions import parse_version

        options = ExportOptions(
            expiration=verifier.expires or DEFAULTS.expiration,
            name=verifier.name or DEFAULTS.name,
            namespace=verifier.namespace or DEFAULTS.namespace,
        )
        warn_of_expiration(options.expiration)
        named = {"name": verifier.name, "namespace": verifier.namespace}
        yield ConfigMapStore(
            verifier.manifest,
            version=parse_version(trustee),
            options=options,
            metadata={key: value for key, value in named.items() if value is not None},
        )
        return
    from podvm_builder.publish.address import parse_address
    from podvm_builder.publish.connect import open_store

    address = parse_address(verifier.url or "", insecure=verifier.insecure_http)
    with open_store(
        address,
        trustee=trustee,
        token=_token(verifier),
        token_is_signed=verifier.admin_key is not None,
        ca=None if verifier.ca_file is None else _certificates(verifier.ca_file),
        timeout=_TIMEOUT if verifier.timeout is None else verifier.timeout,
    ) as store:
        yield store


def _refuse_unheeded(verifier: Verifier) -> None:
    """Refuse options that the way chosen does not heed."""
    of_url = ("admin_token", "admin_key", "ca_file", "timeout", "insecure_http")
    of_manifest = ("expires", "name", "namespace")
    way, other = ("--url", of_manifest) if verifier.manifest is None else ("--manifest", of_url)
    for field in other:
        if getattr(verifier, field):
            raise _usage(f"`--{field.replace('_', '-')}` says nothing beside `{way}`")


def _token(verifier: Verifier) -> str | None:
    import time

    from podvm_builder.publish.admin import CODE, read_token, sign_token

    if verifier.admin_token is not None and verifier.admin_key is not None:
        raise InputError(
            "a token and a key that signs one are given", code=CODE, hint="give `--admin-token` or `--admin-key`"
        )
    if verifier.admin_token is not None:
        path = verifier.admin_token
        token = read_token(read_file(path, limit=_MAX_SECRET), name=f"`{path}`")
        _warn_of_readers(path)
        return token
    if verifier.admin_key is not None:
        path = verifier.admin_key
        token = sign_token(read_file(path, limit=_MAX_SECRET), name=f"`{path}`", now=int(time.time()))
        _warn_of_readers(path)
        return token
    return None


def _warn_of_readers(path: Path) -> None:
    """Say on stderr where everybody on this machine can read a secret; it is used all the same."""
    from podvm_builder.report.text import printable

    mode = path.stat().st_mode
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        click.echo(printable(f"caution: every user of this machine can read `{path}`: chmod o-r"), err=True)


def _certificates(path: Path) -> str:
    try:
        return read_file(path, limit=_MAX_CERTIFICATES).decode("ascii")
    except UnicodeDecodeError:
        raise InputError(f"`{path}` is not PEM", code="PVB656", hint="give certificates in PEM") from None


def _usage(message: str) -> InputError:
    return InputError(message, code="PVB100", hint="`--help` lists the options")
