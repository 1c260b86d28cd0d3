"""Keys that sign reference values: Ed25519, and ECDSA on P-256 with SHA-256 or on P-384 with SHA-384.

Signatures are deterministic (RFC 8032, RFC 6979), so that equal inputs give equal bytes. Keys come in as bytes and no
message holds anything of one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podvm_builder.errors import InputError, Lacking

if TYPE_CHECKING:  # imported where it is used: it is heavy, and few exports sign
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384

CODE = "PVB665"
OLD_OPENSSL = "PVB304"
ED25519 = "ed25519"
P256 = "p256"
P384 = "p384"
_SIZES = {P256: 32, P384: 48}


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key."""

    kind: str
    """:data:`ED25519`, :data:`P256` or :data:`P384`."""
    key: Ed25519PrivateKey | EllipticCurvePrivateKey = field(repr=False)

    @property
    def public(self) -> VerifyingKey:
        """Its public half."""
        return VerifyingKey(kind=self.kind, key=self.key.public_key())

    def sign(self, data: bytes) -> bytes:
        """Return a signature: 64 bytes of Ed25519, or ECDSA's ``r`` and ``s`` side by side, each of the curve's size.

        Raises:
            Lacking: PVB304, OpenSSL is older than 3.2.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(data)
        try:
            signature = self.key.sign(data, ECDSA(_hash(self.kind), deterministic_signing=True))
        except UnsupportedAlgorithm:
            raise Lacking(
                "deterministic signatures need OpenSSL 3.2 or newer",
                code=OLD_OPENSSL,
                hint="install the wheel of `cryptography`, or sign with an Ed25519 key",
            ) from None
        size = _SIZES[self.kind]
        return b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(signature))


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyingKey:
    """A public key."""

    kind: str
    key: Ed25519PublicKey | EllipticCurvePublicKey

    @property
    def id(self) -> str:
        """SHA-256 of the key's DER (SubjectPublicKeyInfo), hex."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return hashlib.sha256(self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Say whether a signature, of the form that :meth:`SigningKey.sign` gives, is right."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        try:
            if isinstance(self.key, Ed25519PublicKey):
                self.key.verify(signature, data)
                return True
            size = _SIZES[self.kind]
            if len(signature) != 2 * size:
                return False
            r, s = (int.from_bytes(part, "big") for part in (signature[:size], signature[size:]))
            self.key.verify(encode_dss_signature(r, s), data, ECDSA(_hash(self.kind)))
        except InvalidSignature:
            return False
        return True


def read_signing_key(data: bytes) -> SigningKey:
    """Read a private key in PEM.

    Raises:
        InputError: PVB665, it is none of a kind that is known here, or is behind a passphrase.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise InputError(
            "the signing key is encrypted", code=CODE, hint="decrypt it into a file that nobody else can read"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise _unknown("the signing key is no private key in PEM") from None
    if isinstance(key, Ed25519PrivateKey):
        return SigningKey(kind=ED25519, key=key)
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return SigningKey(kind=_CURVES[key.curve.name], key=key)
    raise _unknown("the signing key is of a kind that is not known here")


def read_verifying_key(data: bytes) -> VerifyingKey:
    """Read a public key in PEM.

    Raises:
        InputError: PVB665, it is none of a kind that is known here.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise _unknown("the key is no public key in PEM") from None
    if isinstance(key, Ed25519PublicKey):
        return VerifyingKey(kind=ED25519, key=key)
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return VerifyingKey(kind=_CURVES[key.curve.name], key=key)
    raise _unknown("the key is of a kind that is not known here")


_CURVES = {"secp256r1": P256, "secp384r1": P384}


def _hash(kind: str) -> SHA256 | SHA384:
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384

    return SHA256() if kind == P256 else SHA384()


def _unknown(message: str) -> InputError:
    return InputError(message, code=CODE, hint="Ed25519, P-256 or P-384, e.g. of `openssl genpkey -algorithm ed25519`")
