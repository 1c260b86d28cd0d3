"""EFI GUIDs: 16 bytes in mixed byte order (UEFI 2.10, appendix A) and their usual text.

The standard library's ``uuid`` does the same, but its import costs more than a whole SNP digest.
"""

from __future__ import annotations

import struct

_PARTS = struct.Struct("<IHH")


def guid_text(data: bytes) -> str:
    """Return the lower-case text of 16 bytes: the first three groups little-endian, the rest as stored.

    Raises:
        ValueError: not 16 bytes.
    """
    if len(data) != 16:
        raise ValueError(f"a GUID has 16 bytes, not {len(data)}")
    first, second, third = _PARTS.unpack_from(data)
    return f"{first:08x}-{second:04x}-{third:04x}-{data[8:10].hex()}-{data[10:].hex()}"


def guid_bytes(text: str) -> bytes:
    """Return the 16 bytes of a GUID's text.

    Raises:
        ValueError: not of the form ``xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx``.
    """
    groups = text.split("-")
    if [len(group) for group in groups] != [8, 4, 4, 4, 12]:
        raise ValueError(f"`{text}` is not a GUID")
    raw = bytes.fromhex("".join(groups))
    return raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]
