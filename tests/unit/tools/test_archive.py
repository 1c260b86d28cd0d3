"""Archives: what honest ones hold is read, whatever is around it; what leads out of the tree or is too much is not."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from podvm_builder.errors import FormatError, InputError
from podvm_builder.tools.archive import Limits, extract, read_members
from tests.support.tars import BLOCK, CHAR, FIFO, FOLDER, HARD, SYM, Entry, entry, make_tar, write_tar

AGENT = os.urandom(200_000)
HONEST = [
    entry("./", kind=FOLDER, mode=0o700),
    entry("./usr/bin/", kind=FOLDER, mode=0o1777),
    entry("./usr/bin/kata-agent", AGENT, mode=0o751),
    entry("./usr/share/doc/agent.txt", b"words", mode=0o600),
    entry("./usr/" + "long/" * 30 + "name", b"deep"),
    entry("./usr/bin/hard", "./usr/bin/kata-agent", HARD),
    entry("./usr/bin/soft", "../../usr/bin/hard", SYM),
    entry("./sbin", "usr/bin", SYM),
    entry("./dangling", "usr/nothing", SYM),
]


def zstd_of_frames(data: bytes) -> bytes:
    """Compress as pzstd does: an empty frame first, then one for each part."""
    half = len(data) // 2
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"size"
    return skippable + b"".join(zstandard.compress(part) for part in (data[:half], data[half:]))


def gzip_of_parts(data: bytes) -> bytes:
    half = len(data) // 2
    return gzip.compress(data[:half]) + gzip.compress(data[half:]) + bytes(512)


def xz_of_parts(data: bytes) -> bytes:
    half = len(data) // 2
    return lzma.compress(data[:half]) + bytes(8) + lzma.compress(data[half:])


COMPRESSIONS: list[Callable[[bytes], bytes]] = [
    bytes,
    gzip.compress,
    lzma.compress,
    bz2.compress,
    zstandard.compress,
    zstd_of_frames,
    gzip_of_parts,
    xz_of_parts,
]


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_members_are_read_through_any_compression(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a"
    path.write_bytes(compress(make_tar(HONEST)))
    found = read_members(path, ["usr/bin/kata-agent", "./usr/share/doc/agent.txt", "sbin/soft", "usr/bin/hard"])
    assert found["usr/bin/kata-agent"].data == AGENT
    assert found["usr/bin/kata-agent"].mode == 0o755
    assert found["./usr/share/doc/agent.txt"].data == b"words"
    assert found["./usr/share/doc/agent.txt"].mode == 0o644
    assert found["sbin/soft"].data == found["usr/bin/hard"].data == AGENT


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_of_tar_is_read(tmp_path: Path, format: int) -> None:
    name = "usr/" + "long/" * 25 + "name"
    (tmp_path / "a.tar").write_bytes(make_tar([entry(name, b"x", mode=0o755), entry("l", name[:34], SYM)], format))
    assert read_members(tmp_path / "a.tar", [name, f"l/{name[34:]}"])[f"l/{name[34:]}"].data == b"x"


def test_extraction_gives_the_same_tree_whatever_the_umask(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", *HONEST)
    before = os.umask(0o077)
    try:
        extract(archive, tmp_path / "out")
    finally:
        os.umask(before)
    out = tmp_path / "out"
    seen = {str(path.relative_to(out)): path.lstat() for path in out.rglob("*")}
    assert stat.S_IMODE(seen["usr/bin/kata-agent"].st_mode) == 0o755
    assert stat.S_IMODE(seen["usr/share/doc/agent.txt"].st_mode) == 0o644
    assert {stat.S_IMODE(found.st_mode) for found in seen.values() if stat.S_ISDIR(found.st_mode)} == {0o755}
    assert {found.st_mtime for found in [*seen.values(), out.stat()]} == {0}
    assert (out / "usr/bin/hard").read_bytes() == (out / "sbin/soft").read_bytes() == AGENT
    assert os.path.islink(out / "dangling")  # noqa: PTH114
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "out"]


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", *HONEST)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError) as caught:
        extract(archive, tmp_path / "out")
    assert caught.value.code == "PVB324"
    assert list((tmp_path / "out").iterdir()) == []


EVIL: dict[str, list[Entry]] = {
    "traversal": [entry("../evil", b"x")],
    "traversal within": [entry("usr/../../evil", b"x")],
    "absolute": [entry("/etc/evil", b"x")],
    "symbolic link up": [entry("l", "../evil", SYM)],
    "symbolic link to the root": [entry("l", "/etc", SYM)],
    "symbolic link up through another": [
        entry("a/b/c", "../..", SYM),
        entry("l", "a/b/c/../evil", SYM),
    ],
    "symbolic link up through a later one": [
        entry("l", "a/b/c/../evil", SYM),
        entry("a/b/c", "../..", SYM),
    ],
    "symbolic links in a circle": [entry("a", "b", SYM), entry("b", "a", SYM)],
    "member below a link": [entry("l", "usr", SYM), entry("l/evil", b"x")],
    "link over a folder": [entry("d/x", b"x"), entry("d", "usr", SYM)],
    "member below a file": [entry("f", b"x"), entry("f/evil", b"x")],
    "hard link up": [entry("l", "../evil", HARD)],
    "hard link to the root": [entry("l", "/etc/passwd", HARD)],
    "hard link through a symbolic one": [entry("s", "usr", SYM), entry("l", "s", HARD)],
    "hard link to what comes later": [entry("l", "f", HARD), entry("f", b"x")],
    "hard link to itself": [entry("l", "l", HARD)],
    "character device": [entry("d", kind=CHAR)],
    "block device": [entry("d", kind=BLOCK)],
    "FIFO": [entry("d", kind=FIFO)],
    "set-user-ID": [entry("su", b"x", mode=0o4755)],
    "set-group-ID": [entry("sg", b"x", mode=0o2755)],
    "there twice": [entry("f", b"x"), entry("f", b"y")],
    "there twice in other words": [entry("a/f", b"x"), entry("./a//f", b"x")],
    "the root as a file": [entry(".", "usr", SYM)],
    "deep": [entry("d/" * 200 + "f", b"x")],
}


@pytest.mark.parametrize("name", EVIL)
def test_evil_members_are_refused_whatever_is_wanted(tmp_path: Path, name: str) -> None:
    archive = write_tar(tmp_path / "a.tar", entry("good", b"fine"), *EVIL[name])
    with pytest.raises(FormatError) as caught:
        read_members(archive, ["good"])
    assert caught.value.code == "PVB721"
    with pytest.raises(FormatError):
        extract(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_links_to_links_to_links_end(tmp_path: Path) -> None:
    """Each of 60 links goes 2000 times through the one before, which Linux stops after 40."""
    links = [entry("l0", "d", SYM), entry("d", kind=FOLDER)]
    links += [entry(f"l{number}", f"l{number - 1}/../" * 300 + "d", SYM) for number in range(1, 60)]
    archive = write_tar(tmp_path / "a.tar", *links)
    with pytest.raises(FormatError) as caught:
        read_members(archive, [])
    assert caught.value.code == "PVB721"


@pytest.mark.parametrize(
    ("limits", "entries"),
    [
        (Limits(members=3), [entry(f"f{number}") for number in range(4)]),
        (Limits(file=10), [entry("f", bytes(11))]),
        (Limits(total=10_000), [entry("f", bytes(20_000))]),
        (Limits(ratio=100, free=1 << 20), [entry("f", bytes(8 << 20))]),
    ],
)
def test_what_is_too_much_is_refused(tmp_path: Path, limits: Limits, entries: list[Entry]) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(make_tar(entries)))
    with pytest.raises(FormatError) as caught:
        read_members(tmp_path / "a", [], limits=limits)
    assert caught.value.code == "PVB722"
    with pytest.raises(FormatError):
        extract(tmp_path / "a", tmp_path / "out", limits=limits)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1 << 32
    (tmp_path / "a").write_bytes(info.tobuf() + bytes(1 << 20))
    with pytest.raises(FormatError, match="extended header of") as caught:
        read_members(tmp_path / "a", [])
    assert caught.value.code == "PVB720"


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: data[:700], "ends too early"),
        (lambda data: data[: len(data) - 10240 + 1024], "ends too early"),
        (lambda data: data[:20] + b"X" + data[21:], "sum is wrong"),
        (lambda data: data + b"more", "behind its end"),
        (lambda _: b"no archive" * 100, "no number"),
        (lambda _: b"", "ends too early"),
    ],
)
def test_damaged_archives(tmp_path: Path, damage: Callable[[bytes], bytes], why: str) -> None:
    data = damage(make_tar([entry("f", bytes(8192))]).rstrip(b"\0") + bytes(10240))
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(FormatError, match=why) as caught:
        read_members(tmp_path / "a", [])
    assert caught.value.code == "PVB720"


@pytest.mark.parametrize("compress", COMPRESSIONS[1:])
def test_a_stream_that_ends_too_early_or_is_followed_by_something(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    data = compress(make_tar([entry("f", AGENT)]))
    for damaged in (data.rstrip(b"\0")[:-30], data + b"something"):
        (tmp_path / "a").write_bytes(damaged)
        with pytest.raises(FormatError):
            read_members(tmp_path / "a", [])


def test_sparse_files_and_other_compressions_are_named(tmp_path: Path) -> None:
    info = tarfile.TarInfo("f")
    info.type = tarfile.GNUTYPE_SPARSE
    for data in (info.tobuf() + bytes(1024), b"\x04\x22\x4d\x18" + bytes(100)):
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(FormatError) as caught:
            read_members(tmp_path / "a", [])
        assert caught.value.code == "PVB724"


def test_a_missing_member_names_what_is_near(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", *HONEST)
    with pytest.raises(InputError, match="has no `bin/kata-agent`") as caught:
        read_members(archive, ["bin/kata-agent"])
    assert caught.value.code == "PVB723"
    assert caught.value.hint == "it has `usr/bin/kata-agent`"
    with pytest.raises(InputError) as caught:
        read_members(archive, ["usr/bin/kata-agnt"])
    assert "`usr/bin/kata-agent`" in (caught.value.hint or "")
    with pytest.raises(InputError) as caught:
        read_members(archive, ["dangling"])
    assert caught.value.code == "PVB723"
    with pytest.raises(InputError, match="is a folder") as caught:
        read_members(archive, ["usr/bin"])
    assert caught.value.code == "PVB725"


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(InputError, match="is a pipe") as caught:
            read_members(Path(f"/proc/self/fd/{reader}"), ["x"])
        assert caught.value.code == "PVB320"
    finally:
        os.close(reader)
        os.close(writer)


def test_links_that_are_too_many_together(tmp_path: Path) -> None:
    """Each of two chains has 30 links, and Linux follows 40."""
    chains = []
    for folder in ("", "d/"):
        last = f"{folder}l0"
        chains.append(entry(last, "d" if not folder else "f", SYM))
        for number in range(1, 30):
            chains.append(entry(f"{folder}l{number}", f"l{number - 1}", SYM))
    archive = write_tar(tmp_path / "a.tar", entry("d/f", b"x"), *chains)
    assert read_members(archive, ["l29/f", "d/l29"])["d/l29"].data == b"x"
    with pytest.raises(InputError, match="leads nowhere") as caught:
        read_members(archive, ["l29/l29"])
    assert caught.value.code == "PVB725"


def test_a_device_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError) as caught:
        read_members(tmp_path / "fifo", ["x"])
    assert caught.value.code == "PVB320"
