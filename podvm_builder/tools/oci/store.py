"""The blobs at hand: content by its SHA-256, shared by all builds of a machine.

::

    blobs/<hex>      whole and checked when it was put there
    partial/<hex>    what came of a download that broke off
    locks/<hex>      held by whoever downloads it

A blob is hashed whenever it is asked for. A record that it was good once (a size, a time, a mark) would stand for the
file system's word and not for the bytes, and bytes are what goes into an image; hashing 300 MB costs a fraction of a
second. What does not hash to its name is removed, and downloaded anew. So nothing needs to be synced to disk either.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from podvm_builder.errors import InputError
from podvm_builder.model.oci import check_digest
from podvm_builder.tools.files import writing
from podvm_builder.tools.lock import Held, lock

MISMATCH = "PVB705"
_CHUNK = 1 << 20
_PATIENCE = 0.1


class BlobStore:
    """A folder of blobs; several threads and processes may use it."""

    def __init__(self, root: Path) -> None:
        """Name the folder; it is made when something is put there.

        Args:
            root: by default :func:`default_store` of the cache.
        """
        self.root = root.absolute()

    def get(self, digest: str, size: int | None = None) -> Path | None:
        """Return the file of a blob, or None if it is not at hand. One that is damaged is removed.

        Args:
            digest: ``sha256:…``.
            size: bytes, where they are known; a blob of another size is not the one that is meant.

        Raises:
            InputError: PVB700, no digest.
        """
        path = self._place("blobs", digest)
        try:
            with path.open("rb") as file:
                actual = os.fstat(file.fileno()).st_size
                if hashlib.file_digest(file, "sha256").hexdigest() == path.name:
                    return path if size is None or size == actual else None
        except OSError:
            # absent, or a sector that cannot be read
            if not os.path.lexists(path):
                return None
        with writing(path):
            path.unlink(missing_ok=True)
        return None

    def add(self, digest: str, size: int, chunks: Iterable[bytes]) -> Path:
        """Put a blob there, whole or not at all.

        Raises:
            InputError: PVB705, the chunks are not what the digest and the size say.
            Lacking: PVB321 or PVB322.
        """
        path = self._place("blobs", digest)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            fd, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            state, total = hashlib.sha256(), 0
            with os.fdopen(fd, "wb") as file:
                for chunk in chunks:
                    total += len(chunk)
                    if total > size:
                        break
                    state.update(chunk)
                    with writing(path):
                        file.write(chunk)
            if total != size or state.hexdigest() != path.name:
                raise InputError(
                    f"the content given for `{digest}` is not that: it has "
                    + (f"not {size} bytes" if total != size else f"the digest `sha256:{state.hexdigest()}`"),
                    code=MISMATCH,
                )
            self._install(Path(name), path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        return path

    def add_file(self, source: Path) -> tuple[str, int]:
        """Put a copy of a file there and return its digest and size.

        Raises:
            InputError: PVB705, the file changed meanwhile.
            Lacking: PVB321 or PVB322.
        """
        with source.open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            size = file.tell()
            if self.get(digest, size) is None:
                file.seek(0)
                self.add(digest, size, iter(lambda: file.read(_CHUNK), b""))
        return digest, size

    @contextmanager
    def claim(self, digest: str, waiting: Callable[[float], object]) -> Iterator[Path]:
        """Hold the right to download a blob, and give the place of what came of it so far.

        Args:
            digest: ``sha256:…``.
            waiting: called with some seconds again and again while another has it; it sleeps, or raises.

        Raises:
            Lacking: PVB321 or PVB322.
        """
        place = self._place("locks", digest)
        with ExitStack() as held:
            while True:
                try:
                    held.enter_context(lock(place))
                    break
                except Held:
                    waiting(_PATIENCE)
            partial = self._place("partial", digest)
            with writing(partial):
                partial.parent.mkdir(parents=True, exist_ok=True)
            try:
                yield partial
            finally:
                if partial.is_file() and partial.stat().st_size == 0:
                    partial.unlink()

    def finish(self, digest: str) -> Path:
        """Make a download that is whole and was checked a blob; the caller holds the claim."""
        path = self._place("blobs", digest)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._install(self._place("partial", digest), path)
        return path

    def _install(self, source: Path, path: Path) -> None:
        with writing(path):
            source.chmod(0o444)
            source.replace(path)

    def _place(self, kind: str, digest: str) -> Path:
        return self.root / kind / check_digest(digest).removeprefix("sha256:")


def default_store(cache: Path) -> BlobStore:
    """Return the store of a cache."""
    return BlobStore(cache / "oci")
