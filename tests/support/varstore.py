"""Variable stores made from nothing, as OVMF's flash holds them."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from typing import NamedTuple

FV_NAME = uuid.UUID("fff12b8d-7696-4c8b-a985-2747075b4f50")
AUTHENTICATED = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792")


class Variable(NamedTuple):
    """One variable; a state other than the usual one is that of a variable in transition, or deleted."""

    vendor: uuid.UUID
    name: str
    data: bytes
    state: int = 0x3F


Given = Variable | tuple[uuid.UUID, str, bytes]


def variable(vendor: uuid.UUID, name: str, data: bytes, *, state: int = 0x3F) -> bytes:
    """Return one variable, without what aligns the next one."""
    text = (name + "\0").encode("utf-16-le")
    head = struct.pack("<HBBIQ16sIII", 0x55AA, state, 0, 7, 0, bytes(16), 0, len(text), len(data))
    return head + vendor.bytes_le + text + data


def build_store(variables: Sequence[Given], *, deleted: Sequence[Given] = (), size: int = 0x20000) -> bytes:
    """Return a firmware volume of ``size`` bytes with the variables; the deleted ones come first."""
    content = b""
    for vendor, name, data, state in [
        *(Variable(*one[:3], 0x3C) for one in deleted),
        *(Variable(*one) for one in variables),
    ]:
        content += variable(vendor, name, data, state=state)
        content += b"\xff" * (-len(content) % 4)
    store_size = size // 2
    store = AUTHENTICATED.bytes_le + struct.pack("<IBBHI", store_size, 0x5A, 0xFE, 0, 0) + content
    head = bytes(16) + FV_NAME.bytes_le + struct.pack("<Q", size) + b"_FVH" + struct.pack("<IHHHBB", 0, 72, 0, 0, 0, 2)
    head += struct.pack("<IIII", size // 4096, 4096, 0, 0)
    return (head + store).ljust(size, b"\xff")
