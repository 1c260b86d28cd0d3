"""dm-verity hash partitions: their superblock, and the root hash of data under its parameters.

Specification: Linux ``Documentation/admin-guide/device-mapper/verity.rst``; cryptsetup's "DMVerity" wiki page for the
superblock. Little-endian.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from podvm_builder.errors import FormatError
from podvm_builder.model.reader import BinaryReader

CODE = "PVB256"
MAGIC = b"verity\0\0"
_SUPER = struct.Struct("<8sII16s32sIIQH6s256s")
_CHUNK = 256
"""Blocks that are read at a time."""
_ALGORITHMS = ("sha256", "sha512", "sha384", "sha1")


@dataclass(frozen=True, slots=True, kw_only=True)
class VeritySuper:
    """The parameters."""

    type: int
    """1: the salt comes before a block; 0, of Chromium OS: behind it."""
    algorithm: str
    data_block: int
    """Bytes."""
    hash_block: int
    """Bytes."""
    data_blocks: int
    salt: bytes


def parse_verity(reader: BinaryReader) -> VeritySuper:
    """Read the superblock at the start of a hash partition.

    Raises:
        FormatError: there is none, or its values are not credible.
    """
    if reader.size < _SUPER.size:
        raise _error("shorter than a superblock")
    magic, version, kind, _, name, data_block, hash_block, count, salt_size, _, salt = _SUPER.unpack(
        reader.read_at(0, _SUPER.size)
    )
    algorithm = name.split(b"\0")[0].decode("ascii", "replace")
    if magic != MAGIC or version != 1:
        raise _error("no superblock of version 1")
    if algorithm not in _ALGORITHMS or kind not in (0, 1) or salt_size > len(salt):
        raise _error(f"hash type {kind}, algorithm `{algorithm}`, a salt of {salt_size} bytes")
    for size in (data_block, hash_block):
        if not 512 <= size <= 1 << 20 or size & (size - 1):
            raise _error(f"blocks of {size} bytes")
    if not 0 < count <= 1 << 32:
        raise _error(f"{count} blocks of data")
    return VeritySuper(
        type=kind,
        algorithm=algorithm,
        data_block=data_block,
        hash_block=hash_block,
        data_blocks=count,
        salt=salt[:salt_size],
    )


def root_hash(data: BinaryReader, parameters: VeritySuper) -> bytes:
    """Return the root hash of data, computed from all of it: the hash partition's own tree is not looked at.

    Raises:
        FormatError: there is less data than the superblock says.
    """
    if parameters.data_blocks * parameters.data_block > data.size:
        raise _error(f"{parameters.data_blocks} blocks of data where there are {data.size} bytes")
    hashes = _leaves(data, parameters)
    size = hashlib.new(parameters.algorithm).digest_size
    # each hash has a place of a power of two in its block
    width = 1 << (size - 1).bit_length()
    per_block = parameters.hash_block // width
    level = list(hashes)
    while True:
        blocks = [level[at : at + per_block] for at in range(0, len(level), per_block)]
        level = [
            _digest(b"".join(one.ljust(width, b"\0") for one in block).ljust(parameters.hash_block, b"\0"), parameters)
            for block in blocks
        ]
        if len(level) == 1:
            return level[0]


def _leaves(data: BinaryReader, parameters: VeritySuper) -> Iterator[bytes]:
    size = parameters.data_block
    start = hashlib.new(parameters.algorithm, parameters.salt if parameters.type else b"")
    end = b"" if parameters.type else parameters.salt
    for first in range(0, parameters.data_blocks, _CHUNK):
        count = min(_CHUNK, parameters.data_blocks - first)
        piece = memoryview(data.read_at(first * size, count * size))
        for at in range(0, count * size, size):
            made = start.copy()
            made.update(piece[at : at + size])
            made.update(end)
            yield made.digest()


def _digest(block: bytes, parameters: VeritySuper) -> bytes:
    parts = (parameters.salt, block) if parameters.type else (block, parameters.salt)
    return hashlib.new(parameters.algorithm, b"".join(parts)).digest()


def _error(what: str) -> FormatError:
    return FormatError(f"dm-verity: {what}", code=CODE)
