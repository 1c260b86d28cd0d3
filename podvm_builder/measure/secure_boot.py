"""Secure boot as PCR 7 sees it: the keys that firmware holds, and the entry of db that let each image pass.

Specifications: TCG PC Client Platform Firmware Profile 1.06 §3.3.4.8 (what is measured, in which order); UEFI 2.10
§32.5.3.3 (an image passes by a certificate of db that its signature chains to, or by its digest in db). The choice
among several is edk2's: the first entry of db, certificates before digests.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.authenticode import PeSignature, pe_signatures
from podvm_builder.formats.efi_siglist import SHA256, X509, X509_SHA256, Signature, parse_signature_lists
from podvm_builder.formats.pe import PeImage
from podvm_builder.formats.varstore import GLOBAL, SECURITY, VariableStore
from podvm_builder.model.reader import BinaryReader

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

CODE = "PVB246"
MAX_CHAIN = 8
"""Certificates from a signer up to an entry of db; real chains have three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The secure-boot variables that PCR 7 covers, as raw variable data; empty where there is none."""

    pk: bytes = b""
    kek: bytes = b""
    db: bytes = b""
    dbx: bytes = b""
    dbt: bytes = b""
    """Timestamping certificates; measured where firmware has any."""
    dbr: bytes = b""
    """Recovery certificates; measured where firmware has any."""

    def __post_init__(self) -> None:
        """Refuse what is not a signature list.

        Raises:
            FormatError: PVB250.
        """
        for data in (self.pk, self.kek, self.db, self.dbx, self.dbt, self.dbr):
            parse_signature_lists(data)

    @classmethod
    def from_store(cls, store: VariableStore) -> Keys:
        """Take the variables of a store."""
        return cls(
            pk=store.get(GLOBAL, "PK"),
            kek=store.get(GLOBAL, "KEK"),
            db=store.get(SECURITY, "db"),
            dbx=store.get(SECURITY, "dbx"),
            dbt=store.get(SECURITY, "dbt"),
            dbr=store.get(SECURITY, "dbr"),
        )


def authority(keys: Keys, reader: BinaryReader, image: PeImage, digest: bytes) -> Signature | str:
    """Return the entry of db that lets an image pass, or in words why firmware refuses it.

    Args:
        keys: the firmware's.
        reader: the image's bytes.
        image: its headers.
        digest: its SHA-256 Authenticode digest.

    Raises:
        FormatError: the image's certificate table, or a certificate of db or of the image, cannot be read.
    """
    database = parse_signature_lists(keys.db)
    forbidden = parse_signature_lists(keys.dbx)
    if any(entry.type == SHA256 and entry.data == digest for entry in forbidden):
        return "its digest is in dbx"
    signatures = pe_signatures(reader, image)
    for signature in signatures:
        if len(signature.digest) != len(digest):
            return "it is signed with another digest than SHA-256"
        if signature.digest != digest:
            return "it was changed after it was signed"
        chain = _chain(signature)
        if any(_forbids(entry, chain) for entry in forbidden):
            return "dbx holds a certificate of its signature"
        for entry in database:
            if entry.type == X509 and _vouches(entry.data, chain):
                return entry
    for entry in database:
        if entry.type == SHA256 and entry.data == digest:
            return entry
    return "no certificate of db vouches for its signature" if signatures else "it is not signed"


def check_state(store: VariableStore, secure_boot: str) -> None:
    """Refuse a state of secure boot that firmware with this store would not be in.

    Raises:
        InputError: PVB246.
    """
    is_on = store.secure_boot
    if secure_boot != ("on" if is_on else "off"):
        said = "turns secure boot on" if is_on else "leaves secure boot off: no platform key, or switched off"
        raise InputError(
            f"`--secure-boot {secure_boot}` with a variable store that {said}",
            code=CODE,
            hint="leave out `--secure-boot`: it follows from the store",
        )


def _chain(signature: PeSignature) -> list[Certificate]:
    """Return the certificates from the signer's upwards, as far as they are embedded."""
    certificates = [_load(data) for data in signature.certificates]
    chain = [
        one
        for one in certificates
        if one.serial_number == signature.serial and one.issuer.public_bytes() == signature.issuer
    ][:1]
    while chain and len(chain) < MAX_CHAIN:
        issuer = next((one for one in certificates if one not in chain and _issued(chain[-1], one)), None)
        if issuer is None:
            break
        chain.append(issuer)
    return chain


def _vouches(entry: bytes, chain: list[Certificate]) -> bool:
    """Say whether a certificate is one of the chain, or issued one of it."""
    if not chain:
        return False
    certificate = _load(entry)
    return certificate in chain or any(_issued(one, certificate) for one in chain)


def _forbids(entry: Signature, chain: list[Certificate]) -> bool:
    if entry.type == X509:
        return _vouches(entry.data, chain)
    # the digest stands before the time of revocation
    revoked = [hashlib.sha256(one.tbs_certificate_bytes).digest() for one in chain]
    return entry.type == X509_SHA256 and entry.data[:32] in revoked


def _issued(certificate: Certificate, issuer: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _load(data: bytes) -> Certificate:
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(data)
    except ValueError as error:
        raise FormatError(f"certificate: {error}", code="PVB250") from error
