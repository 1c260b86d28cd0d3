"""What is recognised as a secret, and what only looks like one."""

from __future__ import annotations

import base64

import pytest

from podvm_builder.formats.secrets import secrets_in

# put together here, so that no scanner of this repository takes them for real
BEGIN = b"-----BEGIN " + b"%sPRIVATE KEY-----\n"
JWT = base64.urlsafe_b64encode(b'{"alg":"RS256"}').rstrip(b"=") + b".eyJzdWIiOiJwb2Q" + b"." + b"s" * 40


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BEGIN % b"" + b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n", "a private key"),
        (BEGIN % b"RSA " + b"Proc-Type: 4,ENCRYPTED\n", "a private key"),
        (BEGIN % b"OPENSSH " + b"b3BlbnNzaC1rZXktdjEAAAAA\n", "a private key"),
        (b'{"key": "' + (BEGIN % b"EC ").replace(b"\n", b"\\n") + b'MHcCAQEEIIrYSSNQFaA2"}', "a private key"),
        (b"AGE-SECRET-KEY-1" + b"Q" * 58 + b"\n", "a private key of age"),
        (b"PuTTY-User-Key-File-3: ssh-rsa\n", "a private key of PuTTY"),
        (b"id = AKIA" + b"A" * 16 + b"\n", "an access key of AWS"),
        (b"aws_secret_access_key = " + b"a" * 40 + b"\n", "a secret key of AWS"),
        (b"token: ghp_" + b"a" * 36 + b"\n", "a token of GitHub"),
        (b"token: github_pat_" + b"a" * 82 + b"\n", "a token of GitHub"),
        (b"token: glpat-" + b"a" * 20 + b"\n", "a token of GitLab"),
        (b"token: xoxb-" + b"1" * 24 + b"\n", "a token of Slack"),
        (b"AccountKey=" + b"a" * 86 + b"==;", "an account key of Azure storage"),
        (b'{"auths": {"r.example": {"auth": "dXNlcjpwYXNz"}}}', "credentials of a registry"),
        (JWT, "a signed token (JWT)"),
    ],
)
def test_each_form(text: bytes, said: str) -> None:
    assert secrets_in(text) == (said,)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"auths": {}}',
        b'{"auth": ""}',
        b"-----BEGIN " + b"PRIVATE KEY-----\0-----END PRIVATE KEY-----\0",  # the marks, as programs have them
        b"-----BEGIN CERTIFICATE-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n",
        b"-----BEGIN PUBLIC KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n",
        b"eyJhbGciOi.eyJhbGciOi.short",
        b"eyJhbGcixxxxxxxx.eyJzdWIiOiJwb2Q." + b"s" * 40,  # no header that names an algorithm
    ],
)
def test_what_is_none(text: bytes) -> None:
    assert secrets_in(text) == ()
