"""Several hash algorithms over the same bytes in one pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol


class Hash(Protocol):
    """What :mod:`hashlib` gives."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""
        ...

    def digest(self) -> bytes:
        """Return the digest of the bytes so far."""
        ...

    def copy(self) -> Hash:
        """Return an independent hash with the same state."""
        ...


def new_hash(algorithm: str) -> Hash:
    """Return an empty hash: ``sha1`` (the TPM's bank, not a judgement), ``sha256``, ``sha384`` or ``sha512``."""
    return hashlib.new(algorithm, usedforsecurity=False)


class MultiHash:
    """One hash state per algorithm, fed together, so that the bytes are read once."""

    def __init__(self, algorithms: Sequence[str]) -> None:
        """Start with no bytes."""
        self._states: dict[str, Hash] = {algorithm: new_hash(algorithm) for algorithm in algorithms}

    def update(self, data: bytes) -> None:
        """Add bytes to every state."""
        for state in self._states.values():
            state.update(data)

    def feed(self, pieces: Iterable[bytes]) -> MultiHash:
        """Add pieces one after the other and return self."""
        for piece in pieces:
            self.update(piece)
        return self

    def copy(self) -> MultiHash:
        """Return an independent copy: what was hashed so far need not be hashed again."""
        other = MultiHash(())
        other._states = {algorithm: state.copy() for algorithm, state in self._states.items()}
        return other

    def digests(self) -> dict[str, bytes]:
        """Return the digest per algorithm."""
        return {algorithm: state.digest() for algorithm, state in self._states.items()}


def digest_bytes(data: bytes, algorithms: Sequence[str]) -> Mapping[str, bytes]:
    """Hash bytes in memory with every algorithm."""
    return {algorithm: hashlib.new(algorithm, data, usedforsecurity=False).digest() for algorithm in algorithms}
