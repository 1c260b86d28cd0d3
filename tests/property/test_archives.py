"""Any bytes are an archive or refused; what is taken out of one never leaves its folder."""

from __future__ import annotations

import gzip
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.oci import parse_manifest
from podvm_builder.formats.tar import read_tar
from podvm_builder.tools.archive import Limits, extract, read_image_path, read_members
from tests.support.tars import BLOCK, CHAR, FIFO, FILE, FOLDER, HARD, SYM, make_tar

_PARTS = st.sampled_from(["a", "b", "c", ".", "..", "", ".wh.a", ".wh..wh..opq"])
_NAMES = st.lists(_PARTS, min_size=1, max_size=5).map("/".join).filter(bool)
_ENTRIES = st.one_of(
    st.tuples(_NAMES, st.just(FILE), st.binary(max_size=600), st.integers(0, 0o7777)),
    st.tuples(_NAMES, st.sampled_from([SYM, HARD]), _NAMES, st.just(0o777)),
    st.tuples(_NAMES, st.sampled_from([FOLDER, CHAR, BLOCK, FIFO]), st.just(b""), st.just(0o755)),
)
_TREES = st.lists(_ENTRIES, max_size=8)


@given(st.binary(max_size=2000))
def test_any_bytes_are_an_archive_or_refused(data: bytes) -> None:
    try:
        for _, content in read_tar([data]):
            b"".join(content)
    except FormatError:
        pass


@given(_TREES, st.integers(0, 4000), st.integers(0, 255), st.booleans())
@settings(max_examples=300)
def test_a_changed_byte_gives_an_archive_or_is_refused(
    entries: list[tuple[str, bytes, bytes | str, int]], at: int, value: int, packed: bool
) -> None:
    data = bytearray(make_tar(entries))
    data[at % len(data)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(gzip.compress(bytes(data)) if packed else bytes(data))
        with suppress(InputError):
            read_members(path, ["a"], limits=Limits(total=1 << 20))


@given(_TREES)
@settings(max_examples=300)
def test_nothing_leaves_the_folder(entries: list[tuple[str, bytes, bytes | str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder).resolve()
        (base / "a.tar").write_bytes(make_tar(entries))
        try:
            extract(base / "a.tar", base / "out")
        except InputError:
            assert [path.name for path in base.iterdir()] == ["a.tar"]
            return
        assert sorted(path.name for path in base.iterdir()) == ["a.tar", "out"]
        for path in (base / "out").rglob("*"):
            assert path.resolve().is_relative_to(base / "out")
            found = path.lstat()
            assert path.is_symlink() or found.st_mode & 0o7777 in (0o644, 0o755)


@given(st.lists(_TREES, max_size=3), _NAMES)
@settings(max_examples=300)
def test_any_layers_give_a_file_or_are_refused(
    layers: list[list[tuple[str, bytes, bytes | str, int]]], wanted: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, entries in enumerate(layers):
            paths.append(Path(folder) / str(number))
            paths[-1].write_bytes(make_tar(entries))
        with suppress(InputError):
            read_image_path(paths, wanted)


@given(
    st.one_of(st.binary(max_size=200), st.text(alphabet='{}[]":,0123456789eabimnfstx ', max_size=60).map(str.encode))
)
def test_any_bytes_are_a_manifest_or_refused(data: bytes) -> None:
    try:
        parse_manifest(data)
    except FormatError as error:
        assert error.code == "PVB706"
