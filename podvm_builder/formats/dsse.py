"""DSSE envelopes (Dead Simple Signing Envelope, protocol version 1), in JSON.

What is signed is not the payload but its pre-authentication encoding: ``DSSEv1``, the payload's type and the payload,
each of the two behind its length in decimal, separated by spaces.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from podvm_builder.errors import FormatError

CODE = "PVB663"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature of an envelope."""

    keyid: str
    """A hint at the key; not signed, so nothing is decided by it."""
    sig: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A payload with its type and signatures."""

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...]


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the envelope as JSON, with standard, padded base64."""
    value = {
        "payload": _text(envelope.payload),
        "payloadType": envelope.payload_type,
        "signatures": [{"keyid": one.keyid, "sig": _text(one.sig)} for one in envelope.signatures],
    }
    return (json.dumps(value, indent=2) + "\n").encode("ascii")


def decode_envelope(data: bytes) -> Envelope:
    """Read an envelope; its base64 may be of the standard or the URL-safe alphabet, as the specification has it.

    Raises:
        FormatError: PVB663, it is none.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"DSSE envelope: not JSON: {error}", code=CODE) from error
    if not isinstance(value, dict) or not isinstance(value.get("payloadType"), str):
        raise FormatError("DSSE envelope: no object with a `payloadType`", code=CODE)
    signatures = value.get("signatures")
    if not isinstance(signatures, list) or not signatures:
        raise FormatError("DSSE envelope: no signatures", code=CODE)
    return Envelope(
        payload=_bytes(value.get("payload"), "payload"),
        payload_type=value["payloadType"],
        signatures=tuple(_signature(one) for one in signatures),
    )


def _signature(value: Any) -> Signature:
    if not isinstance(value, dict) or not isinstance(value.get("keyid", ""), str):
        raise FormatError("DSSE envelope: a signature that is none", code=CODE)
    return Signature(keyid=value.get("keyid", ""), sig=_bytes(value.get("sig"), "sig"))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: object, what: str) -> bytes:
    if not isinstance(text, str):
        raise FormatError(f"DSSE envelope: `{what}` is not a text", code=CODE)
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(f"DSSE envelope: `{what}` is not base64", code=CODE) from error
