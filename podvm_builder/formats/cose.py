"""COSE_Sign1 messages (RFC 9052 §4.2) with an attached payload, as a CoRIM is signed.

The algorithms are those of RFC 9053: ES256 and ES384 with signatures as ``r`` and ``s`` side by side, and EdDSA.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podvm_builder.errors import FormatError
from podvm_builder.formats.cbor import dumps, loads, tag, untag

CODE = "PVB664"
TAG = 18
ES256 = -7
EDDSA = -8
ES384 = -35

ALG = 1
CONTENT_TYPE = 3
KID = 4
_CONTEXT = "Signature1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign1:
    """One signed payload."""

    protected: bytes
    """The protected header's bytes, as they are signed."""
    payload: bytes
    signature: bytes

    @property
    def header(self) -> Mapping[Any, Any]:
        """The protected header.

        Raises:
            FormatError: PVB664, it is no map.
        """
        header = loads(self.protected, "COSE_Sign1: protected header", CODE)
        if not isinstance(header, Mapping):
            raise FormatError("COSE_Sign1: the protected header is not a map", code=CODE)
        return header


def to_be_signed(protected: bytes, payload: bytes) -> bytes:
    """Return the bytes that are signed: the ``Sig_structure`` without external data."""
    return dumps([_CONTEXT, protected, b"", payload])


def encode_sign1(message: Sign1) -> bytes:
    """Return the tagged message; nothing stands in its unprotected header."""
    return dumps(tag(TAG, [message.protected, {}, message.payload, message.signature]))


def decode_sign1(data: bytes) -> Sign1:
    """Read a tagged message.

    Raises:
        FormatError: PVB664, it is none, or has no payload in it.
    """
    parts = untag(loads(data, "COSE_Sign1", CODE), TAG, "COSE_Sign1", CODE)
    if not isinstance(parts, list | tuple) or len(parts) != 4 or not isinstance(parts[1], Mapping):
        raise FormatError("COSE_Sign1: not an array of four parts", code=CODE)
    protected, _, payload, signature = parts
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
        raise FormatError("COSE_Sign1: a part is not bytes", code=CODE)
    return Sign1(protected=protected, payload=payload, signature=signature)
