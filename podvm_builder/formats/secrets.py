"""Secrets in texts, told by the forms that their makers gave them: private keys, tokens, passwords for registries.

Sources: RFC 7468 (textual encodings), RFC 9580 §6.2 (ASCII armour), PROTOCOL.key of OpenSSH, age's file format, the
documented prefixes of tokens of AWS, GitHub, GitLab, Slack and Kubernetes (RFC 7519), Docker's ``config.json``. What
has no form of its own, such as a password in a file of one's own, is not found.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator

_KEY = (
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
    rb"(?:\\[nr]|[\r\n])+[ \t]*(?:[A-Za-z0-9+/=]{16}|[A-Z][A-Za-z-]+: )"
)
"""The mark alone stands in every program that reads keys: a line of the key itself follows."""
_FORMS: tuple[tuple[str, bytes, re.Pattern[bytes]], ...] = (
    ("a private key", b"PRIVATE KEY", re.compile(_KEY)),
    ("a private key of age", b"AGE-SECRET-KEY-1", re.compile(rb"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}\b")),
    ("a private key of PuTTY", b"PuTTY-User-Key-File-", re.compile(rb"PuTTY-User-Key-File-[0-9]: ")),
    ("an access key of AWS", b"AKIA", re.compile(rb"\bAKIA[A-Z2-7]{16}\b")),
    (
        "a secret key of AWS",
        b"aws_secret_access_key",
        re.compile(rb"aws_secret_access_key\s*[=:]\s*['\"]?[A-Za-z0-9/+]{40}\b"),
    ),
    (
        "a secret key of AWS",
        b"AWS_SECRET_ACCESS_KEY",
        re.compile(rb"AWS_SECRET_ACCESS_KEY\s*[=:]\s*['\"]?[A-Za-z0-9/+]{40}\b"),
    ),
    ("a token of GitHub", b"gh", re.compile(rb"\bgh[oprsu]_[A-Za-z0-9]{36,255}\b")),
    ("a token of GitHub", b"github_pat_", re.compile(rb"\bgithub_pat_[A-Za-z0-9_]{60,255}\b")),
    ("a token of GitLab", b"glpat-", re.compile(rb"\bglpat-[A-Za-z0-9_-]{20,}")),
    ("a token of Slack", b"xox", re.compile(rb"\bxox[abeoprs]-[0-9A-Za-z-]{20,}")),
    ("an account key of Azure storage", b"AccountKey=", re.compile(rb"\bAccountKey=[A-Za-z0-9+/]{86}==")),
    *(
        ("credentials of a registry", word, re.compile(word + rb'\s*:\s*"[^"\s]{8,}"'))
        for word in (b'"auth"', b'"identitytoken"', b'"registrytoken"')
    ),
)
"""What it is, a part of it that is looked for first, since that is fast, and its form."""
_JWT = re.compile(rb"\b(eyJ[A-Za-z0-9_-]{10,})\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}")


def secrets_in(data: bytes) -> tuple[str, ...]:
    """Return what secrets a text holds, in words without their values; nothing where there are none."""
    return tuple(dict.fromkeys(_found(data)))


def _found(data: bytes) -> Iterator[str]:
    for name, part, pattern in _FORMS:
        if part in data and pattern.search(data):
            yield name
    if b"eyJ" in data and any(_is_token(match[1]) for match in _JWT.finditer(data)):
        yield "a signed token (JWT)"


def _is_token(head: bytes) -> bool:
    """Say whether the first part of what looks like a JWT is a header that names its algorithm."""
    try:
        header = json.loads(base64.urlsafe_b64decode(head + b"=" * (-len(head) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header
