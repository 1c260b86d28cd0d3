"""EFI signature lists: the content of the secure-boot variables PK, KEK, db and dbx.

Specification: UEFI 2.10 §32.4.1 (``EFI_SIGNATURE_LIST``, ``EFI_SIGNATURE_DATA``) and §8.2.2
(``EFI_VARIABLE_AUTHENTICATION_2``). A variable holds any number of lists, each with any number of entries of one type
and size. Little-endian.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from podvm_builder.errors import FormatError

CODE = "PVB250"
X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
"""``EFI_CERT_X509_GUID``: each entry is a DER certificate."""
SHA256 = uuid.UUID("c1c41626-504c-4092-aca9-41f936934328")
"""``EFI_CERT_SHA256_GUID``: each entry is an Authenticode digest."""
X509_SHA256 = uuid.UUID("3bd2a492-96c0-4079-b420-fcf98ef103ed")
"""``EFI_CERT_X509_SHA256_GUID``: digest of a certificate's to-be-signed part, and a time of revocation."""

MAX_LISTS = 1 << 20
"""Bytes of one variable; OVMF's largest store holds less."""

_HEADER = struct.Struct("<16sIII")
_OWNER = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One entry of a list."""

    type: uuid.UUID
    """What the data is, e.g. :data:`X509`."""
    owner: uuid.UUID
    data: bytes
    """Without the owner."""

    @property
    def raw(self) -> bytes:
        """``EFI_SIGNATURE_DATA`` as it stands in the list: owner and data; this is what firmware measures."""
        return self.owner.bytes_le + self.data


def parse_signature_lists(data: bytes) -> tuple[Signature, ...]:
    """Read the entries of all lists, in order.

    Raises:
        FormatError: a list that is longer than the input or whose sizes contradict each other; too large an input.
    """
    if len(data) > MAX_LISTS:
        raise FormatError(f"signature list: {len(data)} bytes; at most {MAX_LISTS} are credible", code=CODE)
    return tuple(_entries(data))


def _entries(data: bytes) -> Iterator[Signature]:
    at = 0
    while at < len(data):
        if at + _HEADER.size > len(data):
            raise FormatError("signature list: truncated inside a list's header", at, code=CODE)
        kind, size, header, entry = _HEADER.unpack_from(data, at)
        first = at + _HEADER.size + header
        end = at + size
        if end > len(data) or first > end or entry <= _OWNER or (end - first) % entry:
            raise FormatError(
                f"signature list: a list of {size} bytes with a header of {header} and entries of {entry}",
                at,
                code=CODE,
            )
        for start in range(first, end, entry):
            yield Signature(
                type=uuid.UUID(bytes_le=kind),
                owner=uuid.UUID(bytes_le=data[start : start + _OWNER]),
                data=data[start + _OWNER : start + entry],
            )
        at = end


def encode_signature_list(kind: uuid.UUID, owner: uuid.UUID, data: bytes) -> bytes:
    """Return a list with one entry, as `cert-to-efi-sig-list` and firmware's set-up menus write it."""
    entry = owner.bytes_le + data
    return _HEADER.pack(kind.bytes_le, _HEADER.size + len(entry), 0, len(entry)) + entry


def strip_authentication(data: bytes) -> bytes:
    """Return the content of an authenticated update (``.auth``): what the variable holds once it is accepted.

    Raises:
        FormatError: not an ``EFI_VARIABLE_AUTHENTICATION_2``.
    """
    # EFI_TIME, then a WIN_CERTIFICATE whose length covers itself and its PKCS #7 content
    if len(data) < 40 or data[22:24] != b"\xf1\x0e":
        raise FormatError("authenticated update: no WIN_CERT_TYPE_EFI_GUID", 22, code=CODE)
    (length,) = struct.unpack_from("<I", data, 16)
    if length < 24 or 16 + length > len(data):
        raise FormatError(f"authenticated update: a certificate of {length} bytes", 16, code=CODE)
    return data[16 + length :]
