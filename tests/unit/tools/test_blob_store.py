"""The store: content by its digest, whole or not at all, and never what is damaged."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from podvm_builder.errors import InputError, Lacking
from podvm_builder.tools.cache import remove_contents
from podvm_builder.tools.oci.store import BlobStore, default_store

DATA = os.urandom(100_000)
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


def test_what_was_added_is_there(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    assert store.get(DIGEST) is None
    path = store.add(DIGEST, len(DATA), [DATA[:10], DATA[10:]])
    assert store.get(DIGEST) == store.get(DIGEST, len(DATA)) == path
    assert path.stat().st_mode & 0o777 == 0o444
    assert store.get(DIGEST, len(DATA) + 1) is None
    assert store.get(DIGEST) == path


@pytest.mark.parametrize("chunks", [[DATA[1:]], [DATA, b"x"], [DATA[:-1], b"x"], []])
def test_other_content_leaves_nothing(tmp_path: Path, chunks: list[bytes]) -> None:
    store = BlobStore(tmp_path)
    with pytest.raises(InputError) as caught:
        store.add(DIGEST, len(DATA), chunks)
    assert caught.value.code == "PVB705"
    assert list((tmp_path / "blobs").iterdir()) == []


def test_a_damaged_blob_is_dropped_whatever_its_size_and_time(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    path = store.add(DIGEST, len(DATA), [DATA])
    times = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(50_000)
        file.write(bytes([DATA[50_000] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert store.get(DIGEST, len(DATA)) is None
    assert not path.exists()
    assert store.add(DIGEST, len(DATA), [DATA]) == store.get(DIGEST)


def test_a_file_is_added_under_its_digest(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    store = BlobStore(tmp_path / "store")
    assert store.add_file(tmp_path / "file") == store.add_file(tmp_path / "file") == (DIGEST, len(DATA))
    found = store.get(DIGEST)
    assert found is not None
    assert found.read_bytes() == DATA


def test_a_claim_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    order: list[str] = []
    waited = threading.Event()

    def second() -> None:
        with store.claim(DIGEST, lambda _seconds: waited.set()) as partial:
            order.append(partial.read_text())

    with store.claim(DIGEST, lambda _seconds: None) as partial:
        thread = threading.Thread(target=second)
        thread.start()
        assert waited.wait(10)
        order.append("first")
        partial.write_text("left by the first")
    thread.join(10)
    assert order == ["first", "left by the first"]


def test_a_name_is_a_digest_and_nothing_else(tmp_path: Path) -> None:
    for name in ("sha256:../../etc/passwd", "x", DIGEST[:-1]):
        with pytest.raises(InputError) as caught:
            BlobStore(tmp_path).get(name)
        assert caught.value.code == "PVB700"


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "blobs").touch()
    with pytest.raises(Lacking) as caught:
        BlobStore(tmp_path).add(DIGEST, len(DATA), [DATA])
    assert caught.value.code == "PVB322"


def test_the_store_of_a_cache_goes_with_its_contents(tmp_path: Path) -> None:
    store = default_store(tmp_path)
    store.add(DIGEST, len(DATA), [DATA])
    remove_contents(tmp_path)
    assert store.get(DIGEST) is None
    assert list(tmp_path.iterdir()) == []
