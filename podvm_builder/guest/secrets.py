"""Secrets in texts that are about to become public: whoever hosts an image's root or initdata can read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Something that looks like a secret; what it is, never its value."""

    what: str
    line: int
    """1-based."""


# what it is, and a pattern that matches at its beginning; every pattern has a bounded length
_PATTERNS = (
    ("a private key", rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
    ("an age identity", rb"AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]{20}"),
    ("a PuTTY private key", rb"PuTTY-User-Key-File-[0-9]"),
    ("a JSON web token", rb"\beyJ[A-Za-z0-9_-]{8,4096}\.eyJ[A-Za-z0-9_-]{8,8192}\.[A-Za-z0-9_-]{8}"),
    ("a private JSON web key", rb'"(?:d|k)"\s{0,8}:\s{0,8}"[A-Za-z0-9_-]{16}'),
    ("a bearer token", rb"(?i)\bbearer\s{1,8}[A-Za-z0-9._~+/-]{16}"),
    ("an AWS access key", rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    ("a GitHub token", rb"\b(?:gh[pousr]_[A-Za-z0-9]{30}|github_pat_[A-Za-z0-9_]{30})"),
    ("a GitLab token", rb"\bgl(?:pat|dt|rt|ptt|cbt|oas)-[A-Za-z0-9_-]{16}"),
    ("a Slack token", rb"\bxox[abeoprs]-[A-Za-z0-9-]{10}"),
    ("a Google API key", rb"\bAIza[A-Za-z0-9_-]{35}"),
    ("an npm token", rb"\bnpm_[A-Za-z0-9]{30}"),
    ("an Azure storage key", rb"(?i)\bAccountKey=[A-Za-z0-9+/]{40}"),
    ("a registry's credentials", rb'"(?:auth|identitytoken|registrytoken)"\s{0,8}:\s{0,8}"[^"\s]{4}'),
    ("a password in an address", rb"\b[a-z][a-z0-9+.-]{1,20}://[^/\s:@\"']{1,200}:[^/\s@\"']{1,200}@"),
    (
        "a password",
        rb"(?im)^[ \t]{0,64}\"?(?:[a-z0-9_.-]{0,40}[_.-])?"
        rb"(?:password|passwd|secret|secret_key|secret_access_key|api_key|token)"
        rb"\"?[ \t]{0,8}[:=][ \t]{0,8}[\"'](?!kbs:|file:|/)[^\"'\s]{4}",
    ),
)
_COMPILED = tuple((what, re.compile(pattern)) for what, pattern in _PATTERNS)

# DER (X.690): SEQUENCE with a two-byte length, then the version of PKCS#8 (RFC 5958: 0 or 1) and the SEQUENCE of an
# algorithm, of PKCS#1 (RFC 8017: 0, then the modulus), of SEC 1 (RFC 5915: 1, then the key), or of PKCS#12 (3)
_DER = re.compile(
    rb"\x30(?:\x82..|\x81.|[\x20-\x7f])(?:\x02\x01[\x00\x01]\x30|\x02\x01\x00\x02\x82|\x02\x01\x01\x04|\x02\x01\x03\x30)",
    re.DOTALL,
)


def find_secrets(data: bytes) -> Iterator[Secret]:
    """Find what looks like a secret: private keys in every usual form, tokens, and credentials.

    Public keys, certificates, and addresses of secrets (``kbs:///…``) are none.
    """
    if _DER.match(data):
        yield Secret(what="a private key", line=1)
    for what, pattern in _COMPILED:
        found = pattern.search(data)
        if found is not None:
            start = found.start() + len(found[0]) - len(found[0].lstrip())
            yield Secret(what=what, line=data.count(b"\n", 0, start) + 1)
