"""SNP's ID block and ID authentication information (SEV-SNP Firmware ABI 56860, §8.18, tables for SNP_LAUNCH_FINISH).

The ID block says which launch digest a guest must have, whose guest it is and under which policy; the authentication
information holds its signature by the ID key and, optionally, the ID key's by an author key. Both keys are ECDSA
P-384 with SHA-384. All integers are little-endian, those of keys and signatures in fields of 72 bytes.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from podvm_builder.errors import FormatError, InputError

CODE = "PVB239"
BLOCK_SIZE = 96
AUTH_SIZE = 4096
DEFAULT_POLICY = 0x3_0000
"""SMT allowed, and the bit that is always one."""

_BLOCK = struct.Struct("<48s16s16sIIQ")
_VERSION = 1
_ALWAYS_ONE = 1 << 17
_ECDSA_P384_SHA384 = 1
_P384 = 2
_NUMBER = 72
_SIGNATURE_SIZE = 512
_KEY_SIZE = 1028
_BLOCK_SIGNATURE = 0x40
_ID_KEY = 0x240
_ID_KEY_SIGNATURE = 0x680
_AUTHOR_KEY = 0x880


@dataclass(frozen=True, slots=True, kw_only=True)
class IdBlock:
    """What a guest's owner vouches for."""

    launch_digest: bytes
    """48 bytes."""
    family_id: bytes = bytes(16)
    image_id: bytes = bytes(16)
    guest_svn: int = 0
    """Security version number, 32 bits."""
    policy: int = DEFAULT_POLICY
    """The guest policy, 64 bits: a guest that is launched under another one is refused."""

    def __post_init__(self) -> None:
        """Refuse what the structure has no room for.

        Raises:
            InputError: PVB239.
        """
        for name, value, size in (
            ("launch digest", self.launch_digest, 48),
            ("family id", self.family_id, 16),
            ("image id", self.image_id, 16),
        ):
            if len(value) != size:
                raise InputError(f"an ID block's {name} has {size} bytes, not {len(value)}", code=CODE)
        if not 0 <= self.guest_svn < 1 << 32:
            raise InputError(f"guest SVN {self.guest_svn}: it has 32 bits", code=CODE)
        if not 0 <= self.policy < 1 << 64 or not self.policy & _ALWAYS_ONE:
            raise InputError(
                f"guest policy {self.policy:#x}: it has 64 bits, and bit 17 is always one",
                code=CODE,
                hint=f"the usual policy is {DEFAULT_POLICY:#x}",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """An ECDSA signature."""

    r: int
    s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A point of P-384."""

    x: int
    y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IdAuth:
    """Signatures of an ID block, with the keys that check them."""

    block_signature: Signature
    id_key: PublicKey
    id_key_signature: Signature | None = None
    author_key: PublicKey | None = None
    """Present exactly when the ID key is signed."""

    def __post_init__(self) -> None:
        """Refuse half an author."""
        if (self.id_key_signature is None) != (self.author_key is None):
            raise ValueError("an author key and its signature come together")


def encode_id_block(block: IdBlock) -> bytes:
    """Return the structure, 96 bytes."""
    return _BLOCK.pack(block.launch_digest, block.family_id, block.image_id, _VERSION, block.guest_svn, block.policy)


def decode_id_block(data: bytes) -> IdBlock:
    """Read the structure.

    Raises:
        FormatError: another size or version.
        InputError: a policy that cannot be.
    """
    if len(data) != BLOCK_SIZE:
        raise FormatError(f"ID block: {len(data)} bytes, not {BLOCK_SIZE}", code=CODE)
    digest, family, image, version, svn, policy = _BLOCK.unpack(data)
    if version != _VERSION:
        raise FormatError(f"ID block: unknown version {version}", 0x50, code=CODE)
    return IdBlock(launch_digest=digest, family_id=family, image_id=image, guest_svn=svn, policy=policy)


def encode_public_key(key: PublicKey) -> bytes:
    """Return the structure that is signed and whose digest the attestation report names, 1028 bytes."""
    point = key.x.to_bytes(_NUMBER, "little") + key.y.to_bytes(_NUMBER, "little")
    return (_P384.to_bytes(4, "little") + point).ljust(_KEY_SIZE, b"\0")


def key_digest(key: PublicKey) -> bytes:
    """Return ID_KEY_DIGEST or AUTHOR_KEY_DIGEST of the attestation report: SHA-384 of the structure, 48 bytes."""
    return hashlib.sha384(encode_public_key(key)).digest()


def encode_id_auth(auth: IdAuth) -> bytes:
    """Return the structure, 4096 bytes."""
    data = bytearray(AUTH_SIZE)
    data[0:4] = _ECDSA_P384_SHA384.to_bytes(4, "little")
    _put(data, _BLOCK_SIGNATURE, _encode_signature(auth.block_signature))
    _put(data, _ID_KEY, encode_public_key(auth.id_key))
    if auth.id_key_signature is not None and auth.author_key is not None:
        data[4:8] = _ECDSA_P384_SHA384.to_bytes(4, "little")
        _put(data, _ID_KEY_SIGNATURE, _encode_signature(auth.id_key_signature))
        _put(data, _AUTHOR_KEY, encode_public_key(auth.author_key))
    return bytes(data)


def decode_id_auth(data: bytes) -> IdAuth:
    """Read the structure.

    Raises:
        FormatError: another size, algorithm or curve, or bytes set that must be zero.
    """
    if len(data) != AUTH_SIZE:
        raise FormatError(f"ID authentication: {len(data)} bytes, not {AUTH_SIZE}", code=CODE)
    id_algorithm, author_algorithm = struct.unpack_from("<II", data)
    if id_algorithm != _ECDSA_P384_SHA384 or author_algorithm not in (0, _ECDSA_P384_SHA384):
        raise FormatError(
            f"ID authentication: key algorithms {id_algorithm} and {author_algorithm} are not known", 0, code=CODE
        )
    auth = IdAuth(
        block_signature=_decode_signature(data, _BLOCK_SIGNATURE),
        id_key=_decode_public_key(data, _ID_KEY),
        id_key_signature=_decode_signature(data, _ID_KEY_SIGNATURE) if author_algorithm else None,
        author_key=_decode_public_key(data, _AUTHOR_KEY) if author_algorithm else None,
    )
    if encode_id_auth(auth) != data:
        raise FormatError("ID authentication: bytes are set that must be zero", code=CODE)
    return auth


def _put(data: bytearray, offset: int, value: bytes) -> None:
    data[offset : offset + len(value)] = value


def _encode_signature(signature: Signature) -> bytes:
    numbers = signature.r.to_bytes(_NUMBER, "little") + signature.s.to_bytes(_NUMBER, "little")
    return numbers.ljust(_SIGNATURE_SIZE, b"\0")


def _decode_signature(data: bytes, offset: int) -> Signature:
    return Signature(r=_number(data, offset), s=_number(data, offset + _NUMBER))


def _decode_public_key(data: bytes, offset: int) -> PublicKey:
    (curve,) = struct.unpack_from("<I", data, offset)
    if curve != _P384:
        raise FormatError(f"ID authentication: curve {curve} is not P-384", offset, code=CODE)
    return PublicKey(x=_number(data, offset + 4), y=_number(data, offset + 4 + _NUMBER))


def _number(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + _NUMBER], "little")
