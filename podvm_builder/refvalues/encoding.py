"""Values as a verifier's claims write them."""

from __future__ import annotations

import base64

from podvm_builder.model.refvalue import Scalar
from podvm_builder.refvalues.rules import Encoding


def encode_digest(encoding: Encoding, value: bytes) -> str:
    """Return a digest as text: lower-case hex, or padded base64 of the standard alphabet."""
    return base64.b64encode(value).decode("ascii") if encoding is Encoding.BASE64 else value.hex()


def encode(encoding: Encoding, value: Scalar) -> Scalar:
    """Return what is no digest in the JSON type of its claim."""
    match encoding:
        case Encoding.DECIMAL:
            return str(int(value))
        case Encoding.BOOLEAN_TEXT:
            return "true" if value else "false"
        case _:
            return value
