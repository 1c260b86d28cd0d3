"""Addresses that are taken, credentials that are shown, certificates that are trusted."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from podvm_builder.errors import InputError, RemoteError
from podvm_builder.publish import web
from podvm_builder.publish.address import parse_address
from podvm_builder.publish.admin import LIFETIME, read_token, sign_token
from podvm_builder.publish.connect import open_store
from tests.support.verifiers import kbs


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost", "http://localhost:80"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("https://kbs.example.org/behind/proxy/", "https://kbs.example.org:443/behind/proxy"),
        ("grpc://127.1.2.3", "grpc://127.1.2.3:50003"),
        ("grpcs://rvps.example.org:443", "grpcs://rvps.example.org:443"),
    ],
)
def test_addresses(url: str, said: str) -> None:
    assert str(parse_address(url)) == said


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "ftp://127.0.0.1",
        "http://",
        "http://user:pass@127.0.0.1",
        "http://user:pass@127.0.0.1:99999",
        "ftp://user:pass@127.0.0.1",
        "http://127.0.0.1/\u00fc",
        "https://\u00fc.example.org",
        "https://kbs..example.org",
        f"https://{'k' * 64}.example.org",
        "http://127.0.0.1/?a=b",
        "http://127.0.0.1/#a",
        "http://127.0.0.1:99999",
        "http://127.0.0.1/kbs/v0",
        "grpc://127.0.0.1/path",
        "http://127.0.0.1 .example.org",
        "http://[::1",
        "http://kbs.example.org:8080",
        "http://127.0.0.1.example.org",
        "http://2130706433.example",
        "grpc://10.0.0.1:50003",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_address(url)
    assert caught.value.code == "PVB656"
    assert "pass" not in str(caught.value) or "pass@" in url


def test_an_unencrypted_connection_to_another_machine_needs_leave() -> None:
    assert parse_address("http://kbs.example.org:8080", insecure=True).port == 8080


def test_a_token_is_read_from_a_file() -> None:
    assert read_token(b" eyJ.eyJ.-_~+/==\n", name="t") == "eyJ.eyJ.-_~+/=="


@pytest.mark.parametrize("data", [b"", b"a b", b"a\nb", b"\xff", b"Bearer abc", b'{"a":1}', b"a\r\nX-Evil: b"])
def test_a_file_that_holds_no_token_is_refused_without_its_content(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        read_token(data, name="`file`")
    assert caught.value.code == "PVB657"
    assert str(caught.value) == "`file` holds no bearer token"


def pem(key: Any) -> bytes:
    data: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return data


def decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_a_token_is_signed_with_the_administrators_key() -> None:
    key = Ed25519PrivateKey.generate()
    header, claims, signature = sign_token(pem(key), name="k", now=1_700_000_000).split(".")
    key.public_key().verify(decode(signature), f"{header}.{claims}".encode())
    assert json.loads(decode(header)) == {"alg": "EdDSA", "typ": "JWT"}
    assert json.loads(decode(claims)) == {
        "iat": 1_700_000_000,
        "nbf": 1_700_000_000,
        "exp": 1_700_000_000 + LIFETIME,
    }


def test_keys_that_are_refused() -> None:
    other = pem(ec.generate_private_key(ec.SECP256R1()))
    encrypted = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    for data in (b"", other, encrypted, b"-----BEGIN PRIVATE KEY-----\n"):
        with pytest.raises(InputError) as caught:
            sign_token(data, name="`key`", now=0)
        assert caught.value.code == "PVB657"


@pytest.mark.parametrize(
    ("url", "options", "code"),
    [
        ("http://127.0.0.1", {"trustee": "newest"}, "PVB603"),
        ("http://127.0.0.1", {"trustee": "0.13"}, "PVB603"),
        ("http://127.0.0.1", {"trustee": "0.21", "ca": "x"}, "PVB656"),
        ("https://127.0.0.1", {"trustee": "0.21", "ca": "x"}, "PVB656"),
        ("http://127.0.0.1", {"trustee": "0.21", "token": "t", "token_is_signed": True}, "PVB657"),
        ("grpc://127.0.0.1", {"trustee": "0.21", "token": "t"}, "PVB657"),
    ],
)
def test_options_that_do_not_go_together(url: str, options: dict[str, Any], code: str) -> None:
    with pytest.raises(InputError) as caught, open_store(parse_address(url), **options):
        pass
    assert caught.value.code == code


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with the key and certificate of 127.0.0.1, which signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a KBS")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    found = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(pem(key) + found.public_bytes(Encoding.PEM))
    return file


def test_https_with_a_certificate_authority_of_ones_own(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "PAUSE", 0)
    text = certificate.read_text(encoding="ascii")
    ca = text[text.index("-----BEGIN CERTIFICATE") :]
    with kbs(certificate=certificate) as running:
        address = parse_address(running.url)
        with open_store(address, trustee="0.21", ca=ca) as store:
            store.write({"a": ["b"]})
            assert store.read(["a", "c"]) == {"a": ["b"]}
        with open_store(address, trustee="0.21") as store, pytest.raises(RemoteError, match="not trusted") as caught:
            store.read(["a"])
        assert caught.value.code == "PVB653"


@pytest.mark.parametrize(
    "url", ["http://user:geheim@127.0.0.1", "http://u:geheim@h:99999", "ftp://u:geheim@h", "u:geheim@h"]
)
def test_a_password_in_an_address_is_not_said_again(url: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_address(url)
    assert caught.value.code == "PVB656"
    assert "geheim" not in f"{caught.value.message} {caught.value.hint}"
