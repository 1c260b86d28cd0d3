"""The cache: what can be made again, each thing once per identity.

::

    tools/<spec id>/       a tools tree and its record
    packages/              packages that were downloaded, as mkosi keeps them
    layers/<rootfs id>/    installed packages of an image, mkosi's incremental cache
    firmware/<sha256>/     firmware files that were fetched
    oci/                   blobs of registries, by their digest
    work/                  builds under way; what a killed one left is removed by the next
    locks/

No identity is a path, a size or a time. A cache never changes a plan; where it is does not change an image.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from podvm_builder.errors import Lacking
from podvm_builder.tools.files import writing
from podvm_builder.tools.lock import Held, lock
from podvm_builder.tools.sandbox import remove

LAYERS_KEPT = 4
"""Package layers that stay when a further one comes; each is some hundred megabytes."""


def default_cache() -> Path:
    """Return the cache's place by the XDG Base Directory Specification: ``$XDG_CACHE_HOME/podvm-build``."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    # the specification has relative paths ignored
    return (Path(home) if home.startswith("/") else Path.home() / ".cache") / "podvm-build"


def open_cache(path: Path | None) -> Path:
    """Return the cache, made if it is absent, as an absolute path.

    Raises:
        Lacking: PVB321 or PVB322, it cannot be made.
    """
    cache = (path or default_cache()).absolute()
    with writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
    return cache


@contextmanager
def work_folder(cache: Path) -> Iterator[Path]:
    """Give an empty folder below ``cache/work``, and remove it afterwards.

    Folders whose process has ended without doing so are removed first: they are not locked any more.
    """
    work = cache / "work"
    with writing(work):
        work.mkdir(exist_ok=True)
    sweep(work)
    # the lock comes before the folder: a folder without a held lock is fair game for everybody's sweep
    folder = work / secrets.token_hex(8)
    with lock(_lock_of(folder)):
        try:
            with writing(folder):
                folder.mkdir()
            yield folder
        finally:
            remove(folder)
            _lock_of(folder).unlink(missing_ok=True)


def sweep(work: Path) -> None:
    """Remove the folders of ``work`` that nobody holds."""
    for folder in [path for path in work.iterdir() if path.is_dir()]:
        try:
            with lock(_lock_of(folder)):
                remove(folder)
                _lock_of(folder).unlink(missing_ok=True)
        except Held:
            continue


def refuse_while_busy(cache: Path) -> None:
    """See that no build or boot uses the cache.

    Raises:
        Lacking: PVB316, one does.
    """
    work = cache / "work"
    if work.is_dir():
        sweep(work)
        if any(path.is_dir() for path in work.iterdir()):
            raise Lacking(f"a build or boot under way uses `{cache}`", code="PVB316", hint="wait until it has ended")


def remove_contents(cache: Path) -> None:
    """Remove packages, package layers, firmware and the blobs of registries.

    Raises:
        Lacking: PVB312, something could not be deleted; PVB316, a build is under way.
    """
    refuse_while_busy(cache)
    for name in ("packages", "layers", "firmware", "oci"):
        remove(cache / name)


def prune_layers(cache: Path, keep: str) -> None:
    """Remove all but the last used package layers; ``keep`` counts as just used and always stays.

    A layer that another build holds stays as well.
    """
    layers = cache / "layers"
    (layers / keep).touch()
    by_use = sorted((path for path in layers.iterdir() if path.is_dir()), key=lambda p: p.stat().st_mtime, reverse=True)
    for layer in by_use[LAYERS_KEPT:]:
        if layer.name == keep:
            continue
        try:
            with lock(layer_lock(cache, layer.name)):
                remove(layer)
        except Held:
            continue


def layer_folder(cache: Path, rootfs_id: str) -> Path:
    """Return where the package layer of a root file system is kept."""
    return cache / "layers" / rootfs_id


def layer_date(folder: Path) -> datetime | None:
    """Return when the packages of a layer were installed, or None where there is no whole layer.

    mkosi writes a layer's manifest last.
    """
    dates = [path.stat().st_mtime for path in folder.glob("*.manifest")]
    return datetime.fromtimestamp(min(dates), UTC) if dates else None


def layer_lock(cache: Path, rootfs_id: str) -> Path:
    """Return the lock that a build holds while it uses the package layer of a root file system."""
    return cache / "locks" / f"layer-{rootfs_id}"


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
