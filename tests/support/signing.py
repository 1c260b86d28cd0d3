"""Authenticode signatures made in Python: certificates, a PKCS #7 around an image's digest, a signed PE file."""

from __future__ import annotations

import datetime
import struct
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from podvm_builder.formats.pe import authenticode, parse_pe
from podvm_builder.formats.readers import BytesReader

SHA256_OID = bytes.fromhex("0609608648016503040201")
SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
SPC_INDIRECT = bytes.fromhex("060a2b060104018237020104")
SPC_PE_IMAGE = bytes.fromhex("060a2b06010401823702010f")
_FROM = datetime.datetime(2025, 1, 1)


@dataclass(frozen=True)
class Signer:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        """The certificate as DER."""
        return self.certificate.public_bytes(Encoding.DER)


def signer(name: str, issuer: str | None = None) -> Signer:
    """Return the certificate of that name, made at its first mention: signed by itself or by another one."""
    if name not in _MADE:
        _MADE[name] = _make(name, signer(issuer) if issuer else None)
    return _MADE[name]


_MADE: dict[str, Signer] = {}


def _make(name: str, above: Signer | None) -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above.certificate.subject if above else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_FROM + datetime.timedelta(days=3650))
    )
    return Signer(builder.sign(above.key if above else key, hashes.SHA256()), key)


def der(tag: int, *parts: bytes) -> bytes:
    """Return a DER element."""
    data = b"".join(parts)
    size = len(data)
    length = bytes([size]) if size < 0x80 else bytes([0x82]) + size.to_bytes(2, "big")
    return bytes([tag]) + length + data


def pkcs7(digest: bytes, by: Signer, embedded: tuple[Signer, ...] | None = None) -> bytes:
    """Return an Authenticode PKCS #7 over a digest; its signature value is not one (nothing here checks it)."""
    algorithm = der(0x30, SHA256_OID, b"\x05\0")
    info = der(0x30, algorithm, der(0x04, digest))
    indirect = der(0x30, der(0x30, SPC_PE_IMAGE, b"\x30\0"), info)
    content = der(0x30, SPC_INDIRECT, der(0xA0, indirect))
    certificate = by.certificate
    serial = certificate.serial_number
    number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    signer_info = der(
        0x30,
        b"\x02\x01\x01",
        der(0x30, certificate.issuer.public_bytes(), der(0x02, number)),
        algorithm,
        algorithm,
        der(0x04, b"signature"),
    )
    certificates = der(0xA0, *(one.der for one in (embedded or (by,))))
    signed = der(0x30, b"\x02\x01\x01", der(0x31, algorithm), content, certificates, der(0x31, signer_info))
    return der(0x30, SIGNED_DATA, der(0xA0, signed))


def sign(image: bytes, *signatures: bytes | Signer) -> bytes:
    """Return a PE file with signatures: given ones, or made over the file."""
    image += bytes(-len(image) % 8)
    reader = BytesReader(image)
    pe = parse_pe(reader)
    digest = authenticode(reader, ("sha256",), pe)["sha256"]
    table = b""
    for one in signatures:
        data = one if isinstance(one, bytes) else pkcs7(digest, one)
        entry = struct.pack("<IHH", 8 + len(data), 0x200, 2) + data
        table += entry + bytes(-len(entry) % 8)
    assert pe.certificate_entry_offset is not None
    signed = bytearray(image + table)
    struct.pack_into("<II", signed, pe.certificate_entry_offset, len(image), len(table))
    return bytes(signed)
