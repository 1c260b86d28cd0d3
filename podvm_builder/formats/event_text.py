"""What an event of a log says of itself, in a few words.

Specifications: TCG PC Client Platform Firmware Profile 1.06 §10.2 (variables, GPT, images, actions); UEFI 2.10 §10
(device paths, of which file paths are read). The words describe the event's data, which a log may forge: only the
digest counts.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Mapping

from podvm_builder.formats.eventlog import LogEvent

MAX_TEXT = 200
"""Characters of a description."""

_VARIABLES = (0x80000001, 0x80000002, 0x8000000C, 0x800000E0)
_IMAGES = (0x80000003, 0x80000004, 0x80000005)


def describe(event: LogEvent) -> str:
    """Return a description; empty where nothing can be said. Never fails, whatever the data is."""
    reader = _READERS.get(event.kind)
    try:
        text = reader(event.data) if reader is not None else ""
    except (struct.error, ValueError, IndexError):
        text = ""
    return text[:MAX_TEXT]


def _variable(data: bytes) -> str:
    units, size = struct.unpack_from("<QQ", data, 16)
    name = data[32 : 32 + 2 * units].decode("utf-16-le", "replace")
    vendor = uuid.UUID(bytes_le=data[:16])
    value = data[32 + 2 * units : 32 + 2 * units + size]
    said = value.hex() if 0 < len(value) <= 4 else f"{len(value)} bytes"
    return f"variable {name} ({vendor}): {said}"


def _gpt(data: bytes) -> str:
    disk = uuid.UUID(bytes_le=data[56:72])
    (count,) = struct.unpack_from("<Q", data, 92)
    return f"partition table of disk {disk}, {count} partitions"


def _image(data: bytes) -> str:
    """Return the file path at the end of a device path, or what kind of device it is instead."""
    (length,) = struct.unpack_from("<Q", data, 24)
    path = data[32 : 32 + length]
    names: list[str] = []
    at = 0
    while at + 4 <= len(path):
        kind, sub, size = struct.unpack_from("<BBH", path, at)
        if size < 4:
            break
        if (kind, sub) == (4, 4):
            names.append(path[at + 4 : at + size].decode("utf-16-le", "replace").rstrip("\0"))
        at += size
    return f"image {''.join(names)}" if names else "image from memory"


def _action(data: bytes) -> str:
    return data.decode("ascii", "replace").rstrip("\0")


def _separator(data: bytes) -> str:
    return "separator" if data in (bytes(4), b"\xff" * 4) else f"separator of an error, {data.hex()}"


def _ipl(data: bytes) -> str:
    """Return text in UTF-16, as systemd writes it, or in ASCII, as GRUB and shim do."""
    wide = len(data) >= 4 and len(data) % 2 == 0 and data[1] == 0 and data[3] == 0
    return data.decode("utf-16-le" if wide else "utf-8", "replace").split("\0")[0]


def _tag(data: bytes) -> str:
    number, size = struct.unpack_from("<II", data)
    content = data[8 : 8 + size]
    return f"tag {number:#010x}: {_ipl(content)}"


def _version(data: bytes) -> str:
    return f"version {data.decode('utf-16-le', 'replace').rstrip(chr(0))}"


_READERS: Mapping[int, Callable[[bytes], str]] = {
    **dict.fromkeys(_VARIABLES, _variable),
    **dict.fromkeys(_IMAGES, _image),
    0x04: _separator,
    0x05: _action,
    0x06: _tag,
    0x08: _version,
    0x0D: _ipl,
    0x80000006: _gpt,
    0x80000007: _action,
}
