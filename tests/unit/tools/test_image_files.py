"""Files of a container image: the layers as a runtime would lay them over each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from podvm_builder.errors import FormatError, InputError
from podvm_builder.tools.archive import read_image_path, read_image_paths
from tests.support.tars import CHAR, FOLDER, HARD, SYM, Entry, entry, write_tar


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    """Three layers of an image such as the forwarder's."""
    return [
        write_tar(
            tmp_path / "0",
            entry("bin", "usr/bin", SYM),
            entry("usr/bin/", kind=FOLDER),
            entry("usr/bin/su", b"su", mode=0o4755),
            entry("usr/bin/old", b"old"),
            entry("opt/keep", b"keep"),
            entry("opt/gone", b"gone"),
            entry("srv/a/b", b"b"),
            entry("dev/console", kind=CHAR),
        ),
        write_tar(
            tmp_path / "1",
            entry("bin/forwarder", b"one", mode=0o755),
            entry("/usr/local/bin/current", "/bin/forwarder", SYM),
            entry("usr/local/bin/up", "../../../../../../bin/forwarder", SYM),
            entry("usr/local/bin/hard", "usr/bin/old", HARD),
            entry("opt/.wh.gone"),
            entry("srv/new", b"new"),
            entry("srv/.wh..wh..opq"),
        ),
        write_tar(
            tmp_path / "2",
            entry("usr/bin/forwarder", b"two", mode=0o755),
            entry("usr/bin/.wh.forwarder"),
            entry("usr/bin/.wh.old"),
        ),
    ]


def test_the_highest_layer_counts_and_links_stay_within(layers: list[Path]) -> None:
    paths = ["/usr/bin/forwarder", "bin/forwarder", "/usr/local/bin/current", "/usr/local/bin/up"]
    found = read_image_paths(layers, paths)
    assert {path: one.data for path, one in found.items()} == dict.fromkeys(paths, b"two")
    assert {one.mode for one in found.values()} == {0o755}
    assert read_image_path(layers[:2], "/bin/forwarder").data == b"one"


def test_whiteouts_hide_what_is_below_and_only_that(layers: list[Path]) -> None:
    assert read_image_path(layers[:2], "/opt/keep").data == b"keep"
    assert read_image_path(layers, "/srv/new").data == b"new"
    for path in ("/opt/gone", "/srv/a/b", "/usr/bin/old", "/opt/.wh.gone"):
        with pytest.raises(InputError) as caught:
            read_image_path(layers, path)
        assert caught.value.code == "PVB723"


def test_a_hard_link_outlives_its_first_name(layers: list[Path]) -> None:
    assert read_image_path(layers, "/usr/local/bin/hard").data == b"old"


def test_set_user_id_does_not_come_along(layers: list[Path]) -> None:
    assert read_image_path(layers, "/usr/bin/su").mode == 0o755


def test_near_names_and_kinds(layers: list[Path]) -> None:
    with pytest.raises(InputError) as caught:
        read_image_path(layers, "/usr/sbin/forwarder")
    assert caught.value.hint is not None
    assert "`usr/bin/forwarder`" in caught.value.hint
    for path, kind in (("/usr", "folder"), ("/dev/console", "character device")):
        with pytest.raises(InputError, match=kind) as caught:
            read_image_path(layers, path)
        assert caught.value.code == "PVB725"


@pytest.mark.parametrize(
    "entries",
    [
        [entry("../evil", b"x")],
        [entry("a", "b", SYM), entry("b", "a", SYM), entry("a/x", b"x")],
        [entry("l", "nothing", HARD)],
        [entry("a/.wh...", b"")],
    ],
)
def test_evil_layers(tmp_path: Path, entries: list[Entry]) -> None:
    layer = write_tar(tmp_path / "evil", entry("good", b"x"), *entries)
    with pytest.raises(FormatError) as caught:
        read_image_path([layer], "good")
    assert caught.value.code == "PVB721"


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    layer = write_tar(tmp_path / "l", entry("a", "b", SYM), entry("b", "a", SYM))
    with pytest.raises(InputError, match="leads nowhere") as caught:
        read_image_path([layer], "/a")
    assert caught.value.code == "PVB725"
