"""Authenticode signatures of PE images: the PKCS #7 in the certificate table, and who signed.

Specifications: Windows Authenticode Portable Executable Signature Format (``SpcIndirectDataContent``); RFC 2315 §9
(SignedData); PE format, attribute certificate table (entries of 8-byte alignment). DER is read by a small reader of
our own, because `cryptography` gives out the certificates but not the signer.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from podvm_builder.errors import FormatError
from podvm_builder.formats.pe import PeImage
from podvm_builder.model.reader import BinaryReader

CODE = "PVB252"
MAX_TABLE = 4 << 20
"""Bytes of a certificate table; real ones have a few KiB."""
_PKCS7 = 2
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeSignature:
    """One PKCS #7 signature."""

    digest: bytes
    """The Authenticode digest that was signed."""
    certificates: tuple[bytes, ...]
    """DER, as embedded; the signer's is among them if the file is well made."""
    issuer: bytes
    """DER name of the signer's issuer."""
    serial: int
    """The signer's serial number."""


@dataclass(frozen=True, slots=True)
class _Der:
    """One element: its tag, where its content lies, and where the next begins."""

    tag: int
    start: int
    end: int


def pe_signatures(reader: BinaryReader, image: PeImage) -> tuple[PeSignature, ...]:
    """Read the signatures of a PE image; none where it is not signed.

    Raises:
        FormatError: a certificate table that is damaged, or has a PKCS #7 that is not an Authenticode signature.
    """
    if image.certificate_entry_offset is None or not image.certificate_size:
        return ()
    if image.certificate_size > MAX_TABLE:
        raise _error(f"a certificate table of {image.certificate_size} bytes", image.certificate_entry_offset)
    (offset,) = struct.unpack("<I", reader.read_at(image.certificate_entry_offset, 4))
    table = reader.read_at(offset, image.certificate_size)
    found: list[PeSignature] = []
    at = 0
    while at + 8 <= len(table):
        length, _, kind = struct.unpack_from("<IHH", table, at)
        if length < 8 or at + length > len(table):
            raise _error(f"an entry of {length} bytes in the certificate table", offset + at)
        if kind == _PKCS7:
            found.append(_signature(table[at + 8 : at + length]))
        at += length + -length % 8
    return tuple(found)


def _signature(data: bytes) -> PeSignature:
    if not data.startswith(b"\x30"):
        raise _error("not DER", 0)
    content = _children(data, _element(data, 0, len(data)))
    if len(content) != 2 or data[content[0].start - 2 : content[0].end] != _SIGNED_DATA:
        raise _error("not PKCS #7 SignedData", 0)
    signed = _children(data, _children(data, content[1])[0])
    if len(signed) < 4:
        raise _error("SignedData lacks parts", content[1].start)
    certificates = next((part for part in signed if part.tag == 0xA0), None)
    signer = _children(data, _children(data, signed[-1])[0])
    if len(signer) < 2 or signed[-1].tag != 0x31:
        raise _error("no signer", signed[-1].start)
    issuer, serial = _pair(data, signer[1])
    return PeSignature(
        digest=_digest(data, signed[2]),
        certificates=tuple(_raw(data, part) for part in _children(data, certificates)) if certificates else (),
        issuer=_raw(data, issuer),
        serial=int.from_bytes(data[serial.start : serial.end], "big", signed=True),
    )


def _digest(data: bytes, content: _Der) -> bytes:
    """Return the digest inside ``SpcIndirectDataContent``: its second part, DigestInfo, ends with it."""
    _, wrapped = _pair(data, content)
    _, info = _pair(data, _children(data, wrapped)[0])
    _, digest = _pair(data, info)
    if digest.tag != 0x04:
        raise _error("no digest in SpcIndirectDataContent", digest.start)
    return data[digest.start : digest.end]


def _pair(data: bytes, parent: _Der) -> tuple[_Der, _Der]:
    children = _children(data, parent)
    if len(children) != 2:
        raise _error(f"{len(children)} elements where two are wanted", parent.start)
    return children[0], children[1]


def _children(data: bytes, parent: _Der) -> list[_Der]:
    found: list[_Der] = []
    at = parent.start
    while at < parent.end:
        element = _element(data, at, parent.end)
        found.append(element)
        at = element.end
    if not found:
        raise _error("an empty element", parent.start)
    return found


def _element(data: bytes, at: int, end: int) -> _Der:
    if at + 2 > end:
        raise _error("truncated DER", at)
    tag, length = data[at], data[at + 1]
    start = at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or start + count > end:
            raise _error("a DER length that is indefinite or too long", at)
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + length > end:
        raise _error("a DER element is longer than what holds it", at)
    return _Der(tag, start, start + length)


def _raw(data: bytes, element: _Der) -> bytes:
    """Return an element with its tag and length."""
    length = element.end - element.start
    head = 2 if length < 0x80 else 2 + (length.bit_length() + 7) // 8
    return data[element.start - head : element.end]


def _error(what: str, offset: int) -> FormatError:
    return FormatError(f"Authenticode signature: {what}", offset, code=CODE)
