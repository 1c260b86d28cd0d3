"""Where a verifier is, and whether what is said to it may go there unprotected."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from podvm_builder.errors import InputError

CODE = "PVB656"

_PORTS = {"http": 80, "https": 443, "grpc": 50003, "grpcs": 50003}
"""Schemes with their ports; RVPS listens on 50003."""
_PLAIN = ("http", "grpc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A verifier's address."""

    scheme: str
    """``http`` or ``https`` (a KBS), ``grpc`` or ``grpcs`` (an RVPS)."""
    host: str
    port: int
    path: str
    """Of http alone: what stands before ``/kbs/v0``, without a slash at its end."""

    @property
    def is_grpc(self) -> bool:
        """Whether it is an RVPS."""
        return self.scheme.startswith("grpc")

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return self.scheme not in _PLAIN

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def authority(self) -> str:
        """Host and port as a URL has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        """Return it as a URL."""
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_address(url: str, *, insecure: bool = False) -> Address:
    """Read a verifier's address.

    Args:
        url: ``https://kbs.example:8080``, ``grpc://127.0.0.1:50003`` …
        insecure: whether an unencrypted connection to another machine is wanted.

    Raises:
        InputError: PVB656, it is no such address, or would send values and credentials unprotected.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _wrong(url, str(error)) from None
    problem = _problem(parts)
    if problem is not None:
        raise _wrong(url, problem)
    address = Address(
        scheme=parts.scheme,
        host=parts.hostname or "",
        port=_PORTS[parts.scheme] if port is None else port,
        path=parts.path.rstrip("/"),
    )
    if not address.is_encrypted and not address.is_loopback and not insecure:
        raise InputError(
            f"`{url}` would send reference values and credentials unprotected to another machine",
            code=CODE,
            hint=f"`{parts.scheme}s://` encrypts; `--insecure-http` sends them all the same",
        )
    return address


def _problem(parts: SplitResult) -> str | None:
    if parts.scheme not in _PORTS:
        return f"the scheme is one of {', '.join(_PORTS)}"
    if not (parts.netloc + parts.path).isascii():
        return "it is not ASCII: write the host in its `xn--` form, and the path in percent signs"
    if not parts.hostname or any(char.isspace() or not char.isprintable() for char in parts.netloc + parts.path):
        return "there is no host in it"
    if parts.username is not None or parts.password is not None:
        return "credentials are given as files, never in an address"
    if not all(0 < len(label) < 64 for label in parts.hostname.removesuffix(".").split(".")):
        return "a part of the host's name is empty, or longer than 63 characters"
    if parts.query or parts.fragment:
        return "it ends with the path"
    if parts.scheme.startswith("grpc") and parts.path.strip("/"):
        return "an RVPS has no path"
    if parts.path.rstrip("/").endswith("/kbs/v0"):
        return "`/kbs/v0` is put behind it"
    return None


def _wrong(url: str, why: str) -> InputError:
    # a password must not get into a log
    shown = f"…@{url.rpartition('@')[2]}" if "@" in url else url
    return InputError(
        f"`{shown}` is not the address of a verifier: {why}",
        code=CODE,
        hint="e.g. https://kbs.example.org:8080 for a KBS, grpc://127.0.0.1:50003 for an RVPS",
    )
