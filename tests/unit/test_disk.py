"""GPT and FAT: images built by the tests, tables of real boots, and damage."""

from __future__ import annotations

import struct
import zlib

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.formats.fat import FatFilesystem
from podvm_builder.formats.fat_table import MAX_CLUSTERS, FatTable
from podvm_builder.formats.gpt import esp, measured_data, parse_gpt
from podvm_builder.formats.readers import BytesReader, read_all
from tests.support.disk import ESP, ROOT, build_disk, build_fat

FILES = {
    "EFI/BOOT/BOOTX64.EFI": bytes(range(256)) * 40,
    "EFI/BOOT/BOOTX64.EFI.extra.d/a rather long name of an addon.addon.efi": b"addon",
    "loader/loader.conf": b"",
    "Näme.txt": b"x",
}


@pytest.mark.parametrize("bits", [12, 16, 32])
@pytest.mark.parametrize("scatter", [False, True])
def test_fat_of_every_kind(bits: int, scatter: bool) -> None:
    filesystem = FatFilesystem(BytesReader(build_fat(FILES, bits=bits, cluster=2, scatter=scatter)))
    assert filesystem.bits == bits
    assert [entry.name for entry in filesystem.list()] == ["EFI", "loader", "Näme.txt"]
    for path, data in FILES.items():
        entry = filesystem.find(path.lower())
        assert entry is not None
        assert read_all(filesystem.open(entry)) == data
    assert filesystem.find("EFI/nothing") is None
    assert filesystem.list("not/there") == ()
    with pytest.raises(FormatError, match="a file where a folder"):
        filesystem.list("loader/loader.conf/x")


def test_fat_with_a_folder_of_many_clusters() -> None:
    files = {f"many/file number {number}.txt": str(number).encode() for number in range(100)}
    filesystem = FatFilesystem(BytesReader(build_fat(files, bits=16, scatter=True)))
    assert len(filesystem.list("many")) == 100
    entry = filesystem.find("many/FILE NUMBER 99.TXT")
    assert entry is not None
    assert read_all(filesystem.open(entry)) == b"99"


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_fat_runs_longer_than_what_is_compared_at_a_time(bits: int) -> None:
    files = {"a": bytes(range(251)) * 6500, "b": b"x" * 700, "c": bytes(range(249)) * 100}
    filesystem = FatFilesystem(BytesReader(build_fat(files, bits=bits, cluster=1 if bits != 12 else 2)))
    for name, content in files.items():
        entry = filesystem.find(name)
        assert entry is not None
        assert read_all(filesystem.open(entry)) == content


def test_fat_loop_is_refused() -> None:
    data = bytearray(build_fat({"a": b"x" * 2000}, bits=16))
    filesystem = FatFilesystem(BytesReader(bytes(data)))
    (entry,) = filesystem.list()
    (reserved,) = struct.unpack_from("<H", data, 14)
    struct.pack_into("<H", data, reserved * 512 + 2 * (entry.cluster + 1), entry.cluster)
    with pytest.raises(FormatError, match="loop") as caught:
        list(FatTable(BytesReader(bytes(data)), reserved * 512, bits=16, clusters=8000).runs(entry.cluster))
    assert caught.value.code == "PVB243"


@pytest.mark.parametrize(
    ("next_cluster", "message"), [(0, "does not exist"), (60000, "does not exist"), (0xFFFF, "more than")]
)
def test_fat_broken_chain_is_refused(next_cluster: int, message: str) -> None:
    data = bytearray(build_fat({"a": b"x" * 2000}, bits=16))
    (entry,) = FatFilesystem(BytesReader(bytes(data))).list()
    struct.pack_into("<H", data, 512 + 2 * entry.cluster, next_cluster)
    with pytest.raises(FormatError, match=message):
        FatFilesystem(BytesReader(bytes(data))).open(entry)


class Sparse:
    """Bytes that are zero but for some pieces; remembers how many were asked for."""

    def __init__(self, size: int, pieces: dict[int, bytes]) -> None:
        self.size = size
        self.taken = 0
        self._pieces = pieces

    def read_at(self, offset: int, length: int) -> bytes:
        self.taken += length
        data = bytearray(length)
        for at, piece in self._pieces.items():
            first, last = max(offset, at), min(offset + length, at + len(piece))
            if first < last:
                data[first - offset : last - offset] = piece[first - at : last - at]
        return bytes(data)


def _boot_sector(clusters: int) -> tuple[bytes, int]:
    """Return the boot sector of a FAT32 of 512-byte clusters with one table, and its sectors before the data."""
    table = -(-(clusters + 2) * 4 // 512)
    boot = bytearray(512)
    struct.pack_into("<HBHBHHBH", boot, 11, 512, 1, 32, 1, 0, 0, 0xF8, 0)
    struct.pack_into("<II", boot, 32, 32 + table + clusters, table)
    struct.pack_into("<I", boot, 44, 2)
    boot[510:] = b"\x55\xaa"
    return bytes(boot), 32 + table


def test_of_a_fat_as_large_as_can_be_only_what_is_asked_for_is_read() -> None:
    boot, data = _boot_sector(MAX_CLUSTERS)
    entry = b"FILE    TXT" + struct.pack("<B8xHxxxxHI", 0x20, 0xFFF, 0xFFF0, 1000)
    links = {2: 0x0FFFFFFF, 0x0FFFFFF0: 0x0FFFFFF1, 0x0FFFFFF1: 0x0FFFFFF8}
    pieces = {0: boot, data * 512: entry, (data + 0x0FFFFFF0 - 2) * 512: b"x" * 1000}
    pieces |= {32 * 512 + 4 * cluster: struct.pack("<I", following) for cluster, following in links.items()}
    reader = Sparse((data + MAX_CLUSTERS) * 512, pieces)
    filesystem = FatFilesystem(reader)
    found = filesystem.find("file.txt")
    assert found is not None
    assert read_all(filesystem.open(found)) == b"x" * 1000
    assert reader.taken < 1 << 16
    boot, data = _boot_sector(MAX_CLUSTERS + 1)
    with pytest.raises(FormatError, match="more than their numbers can name"):
        FatFilesystem(Sparse((data + MAX_CLUSTERS + 1) * 512, {0: boot}))


def test_what_chains_of_a_fat_may_cost_is_bounded() -> None:
    clusters = 1 << 20
    # every link goes two clusters on, so that no two clusters of the file stand together
    links = b"".join(struct.pack("<I", cluster + 2) for cluster in range(clusters))
    table = FatTable(Sparse(4 * (clusters + 2), {0: links}), 0, bits=32, clusters=clusters)
    with pytest.raises(FormatError, match="more pieces") as caught:
        for _ in table.runs(2):
            pass
    assert caught.value.code == "PVB243"
    whole = struct.pack(f"<{clusters + 1}I", *range(1, clusters + 2)) + struct.pack("<I", 0x0FFFFFFF)
    table = FatTable(BytesReader(whole), 0, bits=32, clusters=clusters)
    assert list(table.runs(2)) == [(2, clusters)]
    assert list(table.runs(clusters // 2)) == [(clusters // 2, clusters // 2 + 2)]


def test_a_folder_of_a_fat_ends_at_two_mebibytes() -> None:
    boot, data = _boot_sector(1 << 17)
    links = struct.pack(f"<{(1 << 17) + 2}I", *range(1, (1 << 17) + 3))
    filesystem = FatFilesystem(Sparse((data + (1 << 17)) * 512, {0: boot, 32 * 512: links}))
    with pytest.raises(FormatError, match="a folder of"):
        filesystem.list()


@pytest.mark.parametrize("data", [b"", bytes(512), b"\xeb\x3c\x90" + bytes(507) + b"\x55\xaa"])
def test_not_fat(data: bytes) -> None:
    with pytest.raises(FormatError):
        FatFilesystem(BytesReader(data))


@pytest.mark.parametrize("sector", [512, 4096])
def test_gpt_and_its_event(sector: int) -> None:
    filesystem = build_fat({"a": b"content"}, bits=12)
    disk = build_disk([(ROOT, b"root" * 3000), (ESP, filesystem)], sector=sector, gap=3)
    gpt = parse_gpt(BytesReader(disk))
    assert gpt.sector == sector
    assert [(partition.number, partition.name) for partition in gpt.partitions] == [(4, "part0"), (5, "part1")]
    assert read_all(esp(BytesReader(disk), gpt))[: len(filesystem)] == filesystem
    data = measured_data(gpt)
    assert data[:92] == disk[sector : sector + 92]
    assert struct.unpack_from("<Q", data, 92) == (2,)
    assert data[100:] == disk[2 * sector + 3 * 128 : 2 * sector + 5 * 128]


def test_gpt_entries_larger_than_usual_are_measured_whole() -> None:
    disk = build_disk([(ESP, b"x" * 512)], entry_size=256)
    assert len(measured_data(parse_gpt(BytesReader(disk)))) == 92 + 8 + 256


def _with(disk: bytes, offset: int, value: bytes, *, crc: bool = True) -> bytes:
    """Change bytes of the header, and its CRC if asked to."""
    header = bytearray(disk[512 : 512 + 92])
    header[offset : offset + len(value)] = value
    if crc:
        header[16:20] = bytes(4)
        header[16:20] = struct.pack("<I", zlib.crc32(header))
    return disk[:512] + bytes(header) + disk[512 + 92 :]


DISK = build_disk([(ESP, b"x" * 5120), (ROOT, b"y" * 5120)])


@pytest.mark.parametrize(
    ("disk", "message"),
    [
        (bytes(4096), "no GUID partition table"),
        (_with(DISK, 40, b"\x01", crc=False), "header's CRC"),
        (_with(DISK, 12, b"\x10"), "header size"),
        (_with(DISK, 24, b"\x02"), "says that it is at sector 2"),
        (_with(DISK, 80, struct.pack("<I", 1 << 30)), "entries of"),
        (_with(DISK, 84, struct.pack("<I", 100)), "entries of"),
        (_with(DISK, 72, struct.pack("<Q", 1 << 60)), "outside the image"),
        (_with(DISK, 88, bytes(4)), "CRC of the entries"),
        (_with(DISK, 48, struct.pack("<Q", 36)), "outside the usable ones"),
        (DISK[:-1024], "behind the end of the image"),
    ],
)
def test_a_damaged_gpt_is_refused(disk: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        parse_gpt(BytesReader(disk))
    assert caught.value.code == "PVB242"


def test_partitions_that_overlap_are_refused() -> None:
    table = bytearray(DISK[1024 : 1024 + 128 * 128])
    table[128 + 32 : 128 + 40] = table[32:40]  # the second begins where the first does
    changed = DISK[:1024] + bytes(table) + DISK[1024 + len(table) :]
    with pytest.raises(FormatError, match="overlaps"):
        parse_gpt(BytesReader(_with(changed, 88, struct.pack("<I", zlib.crc32(table)))))


@pytest.mark.parametrize("kinds", [[ROOT], [ESP, ESP]])
def test_one_efi_system_partition_is_needed(kinds: list[object]) -> None:
    disk = build_disk([(kind, b"x" * 512) for kind in kinds])  # type: ignore[misc]
    with pytest.raises(FormatError, match="EFI system partitions"):
        esp(BytesReader(disk), parse_gpt(BytesReader(disk)))
