"""Secrets are noticed in every usual form; what only looks like them is not."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.guest.policies import policy_files
from podvm_builder.guest.secrets import find_secrets

PEM, DER, RAW = serialization.Encoding.PEM, serialization.Encoding.DER, serialization.NoEncryption()
PKCS8, TRADITIONAL, OPENSSH = (
    serialization.PrivateFormat.PKCS8,
    serialization.PrivateFormat.TraditionalOpenSSL,
    serialization.PrivateFormat.OpenSSH,
)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def found(data: bytes) -> list[str]:
    return [secret.what for secret in find_secrets(data)]


@pytest.mark.parametrize(
    "data",
    [
        EC.private_bytes(PEM, PKCS8, RAW),
        EC.private_bytes(PEM, TRADITIONAL, RAW),
        EC.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"x")),
        RSA.private_bytes(PEM, TRADITIONAL, RAW),
        ED.private_bytes(PEM, OPENSSH, RAW),
        EC.private_bytes(DER, PKCS8, RAW),
        EC.private_bytes(DER, TRADITIONAL, RAW),
        RSA.private_bytes(DER, TRADITIONAL, RAW),
        ED.private_bytes(DER, PKCS8, RAW),
    ],
    ids=range(9),  # keys are new in each process: they cannot name the tests
)
def test_private_keys(data: bytes) -> None:
    assert found(data) == ["a private key"]
    if data.startswith(b"-----"):
        (secret,) = find_secrets(b"a = 1\nkey = '''\n" + data + b"'''\n")
        assert secret.line == 3


JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (b'{"alg":"ES256"}', b'{"sub":"somebody"}', b"x" * 64)
)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (f"token: {JWT}", "a JSON web token"),
        ("Authorization: Bearer abcdefghijklmnop1234", "a bearer token"),
        ("AGE-SECRET-KEY-1" + "Q" * 58, "an age identity"),
        ("id = " + "AKIA" + "ABCDEFGHIJKLMNOP", "an AWS access key"),
        ("x=gh" + "p_" + "a1" * 18, "a GitHub token"),
        ("x=gl" + "pat-" + "a1" * 10, "a GitLab token"),
        ('{"auths": {"registry.example": {"auth": "dXNlcjpwYXNz"}}}', "a registry's credentials"),
        ('{"auths": {"registry.example": {"identitytoken": "eyJx"}}}', "a registry's credentials"),
        ("https_proxy = 'http://user:pass@proxy.example:3128'", "a password in an address"),
        ('db_password = "hunter2000"', "a password"),
        ("AccountKey=" + "A" * 44, "an Azure storage key"),
        ('{"kty":"EC","d":"' + "a" * 43 + '"}', "a private JSON web key"),
    ],
)
def test_tokens_and_credentials(data: str, what: str) -> None:
    assert what in found(data.encode())


@pytest.mark.parametrize(
    "data",
    [
        EC.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        EC.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        b'{"auths": {}}',
        b'authenticated_registry_credentials_uri = "kbs:///default/credential/registry"',
        b'secret = "kbs:///default/secret/one"',
        b'url = "http://[::1]:8080"\nhost = "https://kbs.example:8080/path@x"',
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        *policy_files().values(),
    ],
    ids=range(10),
)
def test_what_is_no_secret(data: bytes) -> None:
    assert found(data) == []


@given(st.binary(max_size=300))
def test_any_bytes_are_searched(data: bytes) -> None:
    assert all(1 <= secret.line <= data.count(b"\n") + 1 for secret in find_secrets(data))
