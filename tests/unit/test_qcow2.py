"""qcow2 images built from scratch: every kind of cluster, and what is refused."""

from __future__ import annotations

import struct
import zlib

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.formats.qcow2 import Qcow2Reader
from podvm_builder.formats.readers import BytesReader, read_all

BITS = 9
CLUSTER = 1 << BITS
TABLES = 2


def _build(clusters: list[tuple[str, bytes]], *, version: int = 3, size: int | None = None, **fields: int) -> bytearray:
    """Return an image with clusters of 512 bytes: header, first table, second tables of 64 entries, data."""
    count = -(-len(clusters) // 64)
    header = struct.pack(
        ">4sIQIIQIIQQIIQ",
        *(b"QFI\xfb", version, fields.get("backing", 0), 0, fields.get("bits", BITS)),
        *(len(clusters) * CLUSTER if size is None else size, fields.get("crypt", 0)),
        *(fields.get("l1_size", count), CLUSTER, 0, 0, 0, 0),
    )
    header += struct.pack(">QQQIIB", fields.get("features", 0), 0, 0, 4, 112, 0)
    first = b"".join(struct.pack(">Q", (TABLES + index) * CLUSTER | 1 << 63) for index in range(count))
    at = (TABLES + count) * CLUSTER
    entries: list[int] = []
    data = b""
    for kind, content in clusters:
        if kind == "plain":
            data += bytes(-len(data) % CLUSTER)
            entries.append(at + len(data) | 1 << 63)
            data += content
        elif kind == "packed":
            stream = zlib.compressobj(9, zlib.DEFLATED, -12)
            packed = stream.compress(content) + stream.flush()
            offset = at + len(data)
            sectors = ((offset & 511) + len(packed) - 1) // 512
            entries.append(1 << 62 | sectors << (62 - (BITS - 8)) | offset)
            data += packed
        else:
            entries.append({"zero": 1, "absent": 0, "zero over data": at | 1}[kind])
    table = b"".join(struct.pack(">Q", entry) for entry in entries)
    image = header.ljust(CLUSTER, b"\0") + first.ljust(CLUSTER, b"\0") + table.ljust(count * CLUSTER, b"\0") + data
    return bytearray(image)


CLUSTERS = [
    ("plain", b"a" * CLUSTER),
    ("plain", b"b" * CLUSTER),
    ("absent", b""),
    ("packed", b"c" * CLUSTER),
    ("packed", bytes(range(256)) * 2),
    ("zero", b""),
    ("zero over data", b""),
    ("plain", b"d" * CLUSTER),
] + [("absent", b"")] * 70
CONTENT = b"".join(content or bytes(CLUSTER) for _, content in CLUSTERS)


def test_every_kind_of_cluster() -> None:
    disk = Qcow2Reader(BytesReader(bytes(_build(CLUSTERS))))
    assert disk.size == len(CONTENT)
    assert read_all(disk) == CONTENT
    for offset, length in ((0, 1), (511, 2), (1000, 3000), (len(CONTENT) - 1, 1), (5, 0)):
        assert disk.read_at(offset, length) == CONTENT[offset : offset + length]
    for offset, length in ((len(CONTENT), 1), (-1, 1), (0, len(CONTENT) + 1)):
        with pytest.raises(FormatError):
            disk.read_at(offset, length)


def test_version_2_has_no_zero_flag() -> None:
    clusters = [("plain", b"a" * CLUSTER), ("absent", b"")]
    image = _build(clusters, version=2, size=CLUSTER + 100)
    disk = Qcow2Reader(BytesReader(bytes(image)))
    assert read_all(disk) == b"a" * CLUSTER + bytes(100)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (bytearray(200), "no header"),
        (bytearray(b"QFI\xfb"), "shorter"),
        (_build(CLUSTERS, version=4), "version 4"),
        (_build(CLUSTERS, backing=104), "backing file"),
        (_build(CLUSTERS, crypt=1), "encrypted"),
        (_build(CLUSTERS, bits=8), "clusters of 2"),
        (_build(CLUSTERS, bits=22), "clusters of 2"),
        (_build(CLUSTERS, l1_size=1), "first table"),
        (_build(CLUSTERS, l1_size=0xFFFFFFFF), "first table"),
        (_build(CLUSTERS, size=1 << 60), "a disk of"),
        (_build(CLUSTERS, features=2), "corrupt"),
        (_build(CLUSTERS, features=4), "another file"),
        (_build(CLUSTERS, features=16), "extended"),
        (_build(CLUSTERS, features=1 << 20), "not known"),
    ],
)
def test_what_is_refused(image: bytearray, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        Qcow2Reader(BytesReader(bytes(image)))
    assert caught.value.code == "PVB258"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (1 << 40, "behind the end"),
        (CLUSTER * 3 + 512 >> 1 << 1 | 0x10, "behind|begin"),
        (1 << 62 | 1 << 40, "compressed cluster behind"),
        (1 << 62 | CLUSTER * 2, "stream"),
    ],
)
def test_damaged_entries(entry: int, message: str) -> None:
    image = _build([("plain", b"a" * CLUSTER)])
    struct.pack_into(">Q", image, TABLES * CLUSTER, entry)
    image[CLUSTER * 2 + 8 : CLUSTER * 3] = b"\xff" * (CLUSTER - 8)
    if message == "behind|begin":
        struct.pack_into(">Q", image, CLUSTER, 1 << 40)
    with pytest.raises(FormatError, match=message):
        Qcow2Reader(BytesReader(bytes(image))).read_at(0, CLUSTER)


def test_any_bytes_give_a_disk_or_an_error() -> None:
    good = _build(CLUSTERS)
    for at in range(4, len(good), 5):
        image = bytearray(good)
        image[at] ^= 0xFF
        try:
            disk = Qcow2Reader(BytesReader(bytes(image)))
            disk.read_at(0, min(disk.size, 20 * CLUSTER))
        except FormatError:
            pass
