"""Signing and checking SNP ID blocks (:mod:`podvm_builder.formats.id_block`) with the library ``cryptography``.

Signatures are deterministic (RFC 6979) unless random ones are asked for, so that the same inputs give the same
bytes. Private keys are only ever arguments here: no message holds anything of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podvm_builder.errors import InputError, Lacking
from podvm_builder.formats.id_block import (
    CODE,
    IdAuth,
    IdBlock,
    PublicKey,
    Signature,
    decode_id_auth,
    encode_id_auth,
    encode_id_block,
    encode_public_key,
)

if TYPE_CHECKING:  # imported where it is used: it is heavy, and only this needs it
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

OLD_OPENSSL = "PVB304"


def read_private_key(data: bytes, *, name: str) -> EllipticCurvePrivateKey:
    """Return a P-384 private key from PEM or DER (PKCS #8 or SEC 1).

    Args:
        data: the key file's bytes.
        name: what the key is called in messages.

    Raises:
        InputError: PVB239, no private key, one behind a passphrase, or one of another curve.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    load = load_pem_private_key if data.lstrip().startswith(b"-----") else load_der_private_key
    try:
        key = load(data, password=None)
    except TypeError:
        raise InputError(
            f"{name} is encrypted", code=CODE, hint="decrypt it into a file that nobody else can read"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InputError(
            f"{name} is no private key in PEM or DER",
            code=CODE,
            hint="`openssl ecparam -name secp384r1 -genkey -noout -out KEY` makes one",
        ) from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP384R1):
        raise InputError(f"{name} is no P-384 key: SNP takes no other", code=CODE)
    return key


def sign_id_block(
    block: IdBlock,
    *,
    id_key: EllipticCurvePrivateKey,
    author_key: EllipticCurvePrivateKey | None = None,
    deterministic: bool = True,
) -> IdAuth:
    """Return the authentication information of an ID block, checked after it was made.

    Args:
        block: what is signed.
        id_key: the key that signs it.
        author_key: the key that signs ``id_key``, where there is one.
        deterministic: sign as RFC 6979 says, rather than with random numbers.

    Raises:
        Lacking: PVB304, deterministic signatures are asked for and OpenSSL is older than 3.2.
    """
    public = _public_key(id_key)
    auth = IdAuth(
        block_signature=_sign(id_key, encode_id_block(block), deterministic=deterministic),
        id_key=public,
        id_key_signature=None
        if author_key is None
        else _sign(author_key, encode_public_key(public), deterministic=deterministic),
        author_key=None if author_key is None else _public_key(author_key),
    )
    if not verify_id_block(block, decode_id_auth(encode_id_auth(auth))):
        raise RuntimeError("the signature that was just made does not verify")
    return auth


def verify_id_block(block: IdBlock, auth: IdAuth) -> bool:
    """Return whether the signatures are right: the block's by the ID key, and that key's by the author key, if any."""
    if not _verifies(auth.id_key, auth.block_signature, encode_id_block(block)):
        return False
    if auth.author_key is None or auth.id_key_signature is None:
        return True
    return _verifies(auth.author_key, auth.id_key_signature, encode_public_key(auth.id_key))


def _public_key(key: EllipticCurvePrivateKey) -> PublicKey:
    numbers = key.public_key().public_numbers()
    return PublicKey(x=numbers.x, y=numbers.y)


def _sign(key: EllipticCurvePrivateKey, data: bytes, *, deterministic: bool) -> Signature:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA384

    try:
        algorithm = ECDSA(SHA384(), deterministic_signing=deterministic)
        signature = key.sign(data, algorithm)
    except UnsupportedAlgorithm:
        raise Lacking(
            f"`cryptography` uses {_openssl()}, and deterministic signatures need OpenSSL 3.2 or newer",
            code=OLD_OPENSSL,
            hint="install the wheel of `cryptography` from PyPI, or sign with `--random-nonces`",
        ) from None
    r, s = decode_dss_signature(signature)
    return Signature(r=r, s=s)


def _openssl() -> str:
    from cryptography.hazmat.backends.openssl import backend

    return str(backend.openssl_version_text())


def _verifies(key: PublicKey, signature: Signature, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP384R1, EllipticCurvePublicNumbers
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA384

    try:
        public = EllipticCurvePublicNumbers(key.x, key.y, SECP384R1()).public_key()
        public.verify(encode_dss_signature(signature.r, signature.s), data, ECDSA(SHA384()))
    except (InvalidSignature, ValueError):  # ValueError: not a point of the curve
        return False
    return True
