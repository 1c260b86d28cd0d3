"""The cache: its place, work folders that never pile up, layers that are bounded, locks that name their holder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from podvm_builder.errors import Lacking
from podvm_builder.tools.cache import (
    LAYERS_KEPT,
    default_cache,
    layer_date,
    layer_lock,
    open_cache,
    prune_layers,
    refuse_while_busy,
    work_folder,
)
from podvm_builder.tools.lock import Held, lock
from podvm_builder.tools.process import stop
from podvm_builder.tools.sandbox import remove

HOLD = """
import sys
from pathlib import Path
from podvm_builder.tools.cache import work_folder
with work_folder(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_the_place_follows_the_xdg_specification(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "podvm-build"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache/podvm-build"


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Lacking) as caught:
        open_cache(tmp_path / "file")
    assert caught.value.code == "PVB322"


def test_a_work_folder_goes_with_its_block(tmp_path: Path) -> None:
    with pytest.raises(KeyError), work_folder(tmp_path) as folder:
        (folder / "x").touch()
        with pytest.raises(Lacking) as caught:
            refuse_while_busy(tmp_path)
        assert caught.value.code == "PVB316"
        raise KeyError
    assert list((tmp_path / "work").iterdir()) == []
    refuse_while_busy(tmp_path)


def test_what_a_killed_process_left_is_removed_and_what_is_used_is_not(tmp_path: Path) -> None:
    def hold() -> tuple[subprocess.Popen[bytes], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        return process, Path(process.stdout.readline().decode().strip())

    killed, left = hold()
    killed.kill()
    killed.communicate()
    assert left.is_dir()
    living, used = hold()
    try:
        with work_folder(tmp_path) as mine:
            assert not left.exists()
            assert used.is_dir()
            assert sorted(path for path in (tmp_path / "work").iterdir() if path.is_dir()) == sorted([used, mine])
    finally:
        stop(living)
        living.communicate()


def test_layers_are_bounded_and_the_used_ones_stay(tmp_path: Path) -> None:
    layers = tmp_path / "layers"
    names = [f"layer{number}" for number in range(LAYERS_KEPT + 3)]
    for number, name in enumerate(names):
        (layers / name).mkdir(parents=True)
        os.utime(layers / name, (number, number))
    with lock(layer_lock(tmp_path, names[0])):
        prune_layers(tmp_path, names[1])
    # the kept one is now the last used; of the oldest, the held one stays
    assert sorted(path.name for path in layers.iterdir()) == sorted([names[0], names[1], *names[-LAYERS_KEPT + 1 :]])


def test_a_layer_is_whole_once_its_manifest_is_there(tmp_path: Path) -> None:
    assert layer_date(tmp_path) is None
    (tmp_path / "debian.cache").mkdir()
    assert layer_date(tmp_path) is None
    (tmp_path / "debian.manifest").touch()
    os.utime(tmp_path / "debian.manifest", (1735689600, 1735689600))
    date = layer_date(tmp_path)
    assert date is not None
    assert date.isoformat() == "2025-01-01T00:00:00+00:00"


def test_a_lock_names_its_holder(tmp_path: Path) -> None:
    with lock(tmp_path / "x/lock"), pytest.raises(Held) as caught, lock(tmp_path / "x/lock"):
        pytest.fail("the lock was held twice")
    assert caught.value.pid == os.getpid()
    with lock(tmp_path / "x/lock"):
        pass


def test_a_lock_waits_and_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[int | None] = []
    first = lock(tmp_path / "lock")
    first.__enter__()

    def waiting(pid: int | None) -> None:
        said.append(pid)
        first.__exit__(None, None, None)

    with lock(tmp_path / "lock", wait=waiting):
        assert said == [os.getpid()]


def test_removal_is_of_one_folder_only(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "kept").touch()
    (tmp_path / "a/link").symlink_to(tmp_path / "kept")
    remove(tmp_path / "a")
    remove(tmp_path / "absent")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
