"""Writing a small ISO 9660 image: a few files in the root folder, with their names in Rock Ridge.

ECMA-119 (ISO 9660) for the volume, IEEE P1281 (SUSP) and P1282 (RRIP) for names and modes. Numbers stand in
both byte orders, little-endian first, unless a comment says otherwise. Deterministic: every date is the same.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

SECTOR = 2048
_SYSTEM_AREA = 16
_PRIMARY, _TERMINATOR, _PATHS_LE, _PATHS_BE, _ROOT, _FIRST_FILE = range(_SYSTEM_AREA, _SYSTEM_AREA + 6)

_FOLDER, _FILE = 0o040555, 0o100444
# 1 January 2000, 00:00:00 UTC: years since 1900, month, day, hour, minute, second, quarters of an hour from UTC
_DATE7 = bytes((100, 1, 1, 0, 0, 0, 0))
_DATE17 = b"2000010100000000\0"
_NO_DATE17 = b"0000000000000000\0"

MAX_FILES = 16
"""So many records fit into one sector, whatever their names are within :data:`MAX_NAME`."""
MAX_NAME = 32


def iso9660(label: str, files: Mapping[str, bytes]) -> bytes:
    """Return the image of a volume.

    Args:
        label: volume identifier, up to 32 ASCII characters. Lower case is kept, as cloud-init's ``cidata`` needs.
        files: content by name, up to :data:`MAX_FILES` names of up to :data:`MAX_NAME` ASCII characters.

    Raises:
        ValueError: a label, name or number of files that the image cannot hold.
    """
    if not label.isascii() or not 0 < len(label) <= 32:
        raise ValueError(f"`{label}` is no volume label")
    if len(files) > MAX_FILES:
        raise ValueError(f"{len(files)} files; {MAX_FILES} fit")
    for name in files:
        if not re.fullmatch(rf"[A-Za-z0-9_.-]{{1,{MAX_NAME}}}", name) or name in (".", ".."):
            raise ValueError(f"`{name}` is no file name")
    records = [_record(b"\0", _ROOT, SECTOR, folder=True, system_use=_susp_marker() + _posix(_FOLDER) + _rock_ridge())]
    records.append(_record(b"\1", _ROOT, SECTOR, folder=True, system_use=_posix(_FOLDER)))
    body = bytearray()
    for identifier, name in sorted((_identifier(index, name), name) for index, name in enumerate(sorted(files))):
        data = files[name]
        extent = _FIRST_FILE + len(body) // SECTOR
        records.append(_record(identifier, extent, len(data), folder=False, system_use=_posix(_FILE) + _name(name)))
        body += _pad(data)
    sectors = _FIRST_FILE + len(body) // SECTOR
    return b"".join(
        (
            bytes(_SYSTEM_AREA * SECTOR),
            _primary_descriptor(label, sectors),
            _pad(b"\xffCD001\x01"),
            _pad(_path_table("<")),
            _pad(_path_table(">")),
            _pad(b"".join(records)),
            bytes(body),
        )
    )


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % SECTOR)


def _both16(value: int) -> bytes:
    return struct.pack("<H", value) + struct.pack(">H", value)


def _both32(value: int) -> bytes:
    return struct.pack("<I", value) + struct.pack(">I", value)


def _identifier(index: int, name: str) -> bytes:
    """Return a name of 8.3 characters that ISO 9660 allows; the index keeps it unique. Rock Ridge has the real one."""
    letters = re.sub(r"[^A-Z0-9_]", "_", name.upper())[:6]
    return f"{letters}{index:02d}.;1".encode()


def _record(identifier: bytes, extent: int, length: int, *, folder: bool, system_use: bytes) -> bytes:
    """Return a directory record (ECMA-119, 9.1); its own length is even."""
    fixed = (
        b"\0"  # no extended attributes
        + _both32(extent)
        + _both32(length)
        + _DATE7
        + bytes((2 if folder else 0, 0, 0))
        + _both16(1)
        + bytes((len(identifier),))
        + identifier
    )
    # the system use field starts at an even offset; the length byte itself stands before `fixed`
    fixed += bytes((1 + len(fixed)) % 2) + system_use
    fixed += bytes((1 + len(fixed)) % 2)
    return bytes((1 + len(fixed),)) + fixed


def _path_table(order: str) -> bytes:
    """Return the path table, which holds the root alone (ECMA-119, 9.4)."""
    return struct.pack(f"{order}BBIHBB", 1, 0, _ROOT, 1, 0, 0)


def _primary_descriptor(label: str, sectors: int) -> bytes:
    """Return the primary volume descriptor (ECMA-119, 8.4)."""
    paths = len(_path_table("<"))
    return _pad(
        b"\x01CD001\x01\0"
        + b" " * 32  # system identifier
        + label.encode().ljust(32)
        + bytes(8)
        + _both32(sectors)
        + bytes(32)
        + _both16(1)  # volumes in the set
        + _both16(1)  # number of this volume
        + _both16(SECTOR)
        + _both32(paths)
        + struct.pack("<II", _PATHS_LE, 0)
        + struct.pack(">II", _PATHS_BE, 0)
        + _record(b"\0", _ROOT, SECTOR, folder=True, system_use=b"")
        + b" " * (4 * 128 + 3 * 37)  # volume set, publisher, preparer, application; three file names
        + _DATE17  # created
        + _DATE17  # modified
        + _NO_DATE17  # expires
        + _NO_DATE17  # effective
        + b"\x01"
    )


def _susp_marker() -> bytes:
    """Return SP: this volume has system use entries (SUSP, 5.3)."""
    return b"SP\x07\x01\xbe\xef\0"


def _rock_ridge() -> bytes:
    """Return ER: the entries are Rock Ridge's (SUSP, 5.5); description and source are left out."""
    name = b"RRIP_1991A"
    return b"ER" + bytes((8 + len(name), 1, len(name), 0, 0, 1)) + name


def _posix(mode: int) -> bytes:
    """Return PX: mode, links, owner and group (RRIP, 4.1.1)."""
    return b"PX" + bytes((36, 1)) + _both32(mode) + _both32(1) + _both32(0) + _both32(0)


def _name(name: str) -> bytes:
    """Return NM: the name (RRIP, 4.1.4)."""
    return b"NM" + bytes((5 + len(name), 1, 0)) + name.encode()
