"""Variable stores built from scratch: a firmware volume with authenticated variables."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

VOLUME = uuid.UUID("fff12b8d-7696-4c8b-a985-2747075b4f50")
STORE = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792")


@dataclass(frozen=True)
class Variable:
    """One variable in some state."""

    vendor: uuid.UUID
    name: str
    data: bytes
    state: int = 0x3F


def build_store(variables: Sequence[Variable], *, size: int = 8192) -> bytes:
    """Return a flash image of that size with the variables one after the other."""
    body = b""
    for variable in variables:
        name = variable.name.encode("utf-16-le") + bytes(2)
        body += struct.pack("<HBBIQ16sI", 0x55AA, variable.state, 0, 0x27, 0, bytes(16), 0)
        body += struct.pack("<II", len(name), len(variable.data)) + variable.vendor.bytes_le
        body += name + variable.data
        body += bytes(-len(body) % 4)
    store = struct.pack("<16sIBBHI", STORE.bytes_le, size - 72, 0x5A, 0xFE, 0, 0) + body
    volume = bytes(16) + VOLUME.bytes_le + struct.pack("<Q4sIHH", size, b"_FVH", 0, 72, 0) + bytes(20)
    assert len(volume) == 72
    return (volume + store).ljust(size, b"\xff")
