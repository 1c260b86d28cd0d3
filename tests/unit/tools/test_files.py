"""Files: exact reads, writes that are whole or not at all, and errors that name the place."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from podvm_builder.errors import FormatError, InputError, Lacking
from podvm_builder.tools.files import (
    FileReader,
    copy_sparse,
    move_file,
    refuse_file,
    replace_folder,
    write_atomic,
    write_named,
    writing,
)


def test_a_reader_returns_exactly_what_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    with FileReader(path) as reader:
        assert reader.size == 10
        assert reader.read_at(3, 4) == b"3456"
        assert reader.read_at(10, 0) == b""
        for offset, length in ((0, 11), (10, 1), (-1, 1), (0, -1)):
            with pytest.raises(FormatError) as caught:
                reader.read_at(offset, length)
            assert caught.value.code == "PVB201"


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_reader_wants_a_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        FileReader(tmp_path / name)
    assert caught.value.code == "PVB320"


def test_an_atomic_write_replaces_and_sets_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "folder/x"
    former = os.umask(0o077)
    try:
        write_atomic(path, b"one")
        write_atomic(path, b"two", 0o755)
    finally:
        os.umask(former)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o755
    assert list(path.parent.iterdir()) == [path]


FULL = """
import sys
from pathlib import Path
from podvm_builder.errors import Lacking
from podvm_builder.tools.files import write_atomic
try:
    write_atomic(Path(sys.argv[1]), bytes(1 << 20))
except Lacking as error:
    print(error.code, error.message)
"""


def test_a_write_that_does_not_fit_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"former")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("PVB321 no space left")
    assert path.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Lacking) as caught:
        write_atomic(tmp_path / "file/x", b"")
    assert caught.value.code == "PVB322"


def test_other_errors_stay_themselves(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="odd"), writing(tmp_path):
        raise OSError(5, "odd")


def test_a_folder_is_replaced_in_one_step(tmp_path: Path) -> None:
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    former = replace_folder(tmp_path / "new", tmp_path / "old")
    assert former is not None
    assert (tmp_path / "old/new").exists()
    assert (former / "old").exists()


def test_a_folder_is_put_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert replace_folder(tmp_path / "new", tmp_path / "place") is None
    assert (tmp_path / "place").is_dir()


def test_a_file_system_without_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podvm_builder.tools.files._exchange", lambda one, other: False)
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    former = replace_folder(tmp_path / "new", tmp_path / "old")
    assert former is not None
    assert (former / "old").exists()
    assert (tmp_path / "old/new").exists()


@pytest.mark.parametrize("pieces", [[], [(0, b"head")], [(1 << 20, b"middle"), (3 << 20, b"x" * 5000)]])
def test_a_copy_is_equal_and_keeps_holes(tmp_path: Path, pieces: list[tuple[int, bytes]]) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    with source.open("wb") as file:
        for offset, data in pieces:
            file.seek(offset)
            file.write(data)
        file.truncate(4 << 20)
    copy_sparse(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks <= source.stat().st_blocks + 16


def test_a_file_is_moved_across_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_disk(self: Path, target: Path) -> Path:
        raise OSError(18, "Invalid cross-device link")

    (tmp_path / "a").write_bytes(b"content")
    monkeypatch.setattr(Path, "rename", other_disk)
    move_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"content"
    assert not (tmp_path / "a").exists()


def test_a_named_file_is_written_through_links_and_devices_stay(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_named(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_named(tmp_path / "fifo", b"through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "fifo").lstat().st_mode)


@pytest.mark.parametrize("name", ["", "absent/file", "file/below", "n" * 300, "loop", "socket"])
def test_a_named_file_makes_no_folders(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    # bound by a name in its folder: a socket's path has 107 bytes at most
    with contextlib.chdir(tmp_path), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError) as caught:
        write_named(tmp_path / name, b"")
    assert caught.value.code == "PVB324"
    assert str(tmp_path) in caught.value.message
    assert sorted(tmp_path.iterdir()) == before


def test_a_named_file_may_have_the_longest_name(tmp_path: Path) -> None:
    write_named(tmp_path / ("n" * 255), b"content")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"content"]


def test_a_full_device_is_said_to_be_full(tmp_path: Path) -> None:
    (tmp_path / "device").symlink_to("/dev/full")
    with pytest.raises(Lacking) as caught:
        write_named(tmp_path / "device", b"content")
    assert caught.value.code == "PVB321"
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.parametrize("name", ["file", "file/below/this", "broken/below"])
def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "broken").symlink_to("absent")
    with pytest.raises(InputError) as caught:
        refuse_file(tmp_path / name)
    assert caught.value.code == "PVB324"
    assert str(tmp_path / name.partition("/")[0]) in caught.value.message
    refuse_file(tmp_path / "new" / "folder")


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError) as caught:
        FileReader(tmp_path / "fifo")
    assert caught.value.code == "PVB320"
