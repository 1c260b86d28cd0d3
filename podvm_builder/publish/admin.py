"""What an administrator shows a KBS: a bearer token from a file, or one that is signed with the administrator's key."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from podvm_builder.errors import InputError

CODE = "PVB657"
LIFETIME = 7200
"""Seconds that a signed token is good for, as ``kbs-client`` has it."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""RFC 6750, ``b64token``."""


def read_token(data: bytes, *, name: str) -> str:
    """Return the bearer token that a file holds, white space around it aside.

    Args:
        data: the file's bytes.
        name: what messages call the file; nothing of its content is ever in one.

    Raises:
        InputError: PVB657, it holds no token.
    """
    text = data.decode("ascii", errors="replace").strip()
    if _TOKEN.fullmatch(text) is None:
        raise InputError(
            f"{name} holds no bearer token",
            code=CODE,
            hint="the file holds the administrator's JWT and nothing else",
        )
    return text


def sign_token(key: bytes, *, name: str, now: int) -> str:
    """Return a JWT signed with an Ed25519 key, the form that a KBS before 0.21 checks (RFC 8037, ``EdDSA``).

    Args:
        key: private key, PEM (PKCS #8).
        name: what messages call the key's file.
        now: seconds since 1970, when the token begins to be good.

    Raises:
        InputError: PVB657, it is no Ed25519 private key in PEM, or is behind a passphrase.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(key, password=None)
    except TypeError:
        raise InputError(
            f"{name} is encrypted", code=CODE, hint="decrypt it into a file that nobody else can read"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError(
            f"{name} is no Ed25519 private key in PEM",
            code=CODE,
            hint="`openssl genpkey -algorithm ed25519` makes one; the KBS knows its public half",
        )
    header = {"alg": "EdDSA", "typ": "JWT"}
    claims = {"iat": now, "exp": now + LIFETIME, "nbf": now}
    signed = f"{_part(header)}.{_part(claims)}"
    return f"{signed}.{_base64(private.sign(signed.encode('ascii')))}"


def _part(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode("ascii"))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
