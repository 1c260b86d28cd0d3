"""A token server of the Distribution project's protocol, for a registry that trusts its key."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.registry import Answer

ISSUER, SERVICE = "test-issuer", "test-registry"


class TokenServer:
    """Gives tokens for what is asked for: to a name and a password, to an identity token, or to anybody."""

    def __init__(self, folder: Path, *, basic: str | None = None, identity: str | None = None) -> None:
        self.basic, self.identity = basic, identity
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ISSUER)])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.key.public_key())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = builder.serial_number(1).sign(self.key, hashes.SHA256())
        self.bundle = folder / "issuer.pem"
        self.bundle.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        self.lifetime = 300

    def auth(self, realm: str) -> str:
        """Return the ``auth`` section of a registry that sends its clients here."""
        return f"{{token: {{realm: '{realm}', service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {self.bundle}}}}}"

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a request for a token."""
        query = parse_qs(body.decode() if method == "POST" else urlsplit(path).query)
        if method == "POST":
            allowed = query.get("refresh_token") == [self.identity]
        else:
            allowed = self.basic is None or headers.get("authorization") == f"Basic {self.basic}"
        if not allowed or query["service"] != [SERVICE]:
            return 401, {}, b'{"errors": [{"code": "UNAUTHORIZED", "message": "who are you"}]}'
        kind, name, actions = query["scope"][0].split(":")
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": "me",
            "aud": SERVICE,
            "exp": now + self.lifetime,
            "nbf": now - 10,
            "iat": now,
            "jti": str(time.monotonic_ns()),
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }
        name_of_token = "access_token" if method == "POST" else "token"
        return 200, {"Content-Type": "application/json"}, json.dumps({name_of_token: self._sign(claims)}).encode()

    def _sign(self, claims: Mapping[str, object]) -> str:
        chain = [base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()]
        parts = [_url64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "RS256", "x5c": chain}, claims)]
        signature = self.key.sign(".".join(parts).encode(), PKCS1v15(), hashes.SHA256())
        return ".".join([*parts, _url64(signature)])


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
