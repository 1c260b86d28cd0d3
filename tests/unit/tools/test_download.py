"""Files by URL, from a server on this machine."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from podvm_builder.errors import InputError, PodvmError, RemoteError
from podvm_builder.tools.download import check_url, download
from podvm_builder.tools.oci.store import BlobStore

pytest.importorskip("requests", reason="the libraries for registries are not installed")

DATA = b"program" * 1000


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by path."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/busy" and len(self.asked) == 1:
            self.send_response(503)
            self.end_headers()
        elif self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://192.0.2.1/x")
            self.end_headers()
        elif self.path in ("/busy", "/file", "/cut", "/endless"):
            self.send_response(200)
            if self.path != "/endless":
                self.send_header("Content-Length", str(len(DATA)))
            self.end_headers()
            cut = self.path == "/cut" and len(self.asked) == 1
            self.wfile.write(DATA[:100] if cut else DATA)
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    handler = type("Once", (Handler,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}", handler.asked
        found.shutdown()
        thread.join()


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


@pytest.mark.parametrize("path", ["/file", "/busy", "/cut"])
def test_a_file_is_in_the_store_after_as_many_attempts_as_it_takes(
    server: tuple[str, list[str]], store: BlobStore, path: str
) -> None:
    digest, size = download(f"{server[0]}{path}", store=store, limit=1 << 20)
    assert (digest, size) == (f"sha256:{hashlib.sha256(DATA).hexdigest()}", len(DATA))
    found = store.get(digest, size)
    assert found is not None and found.read_bytes() == DATA
    assert len(server[1]) == (1 if path == "/file" else 2)
    assert not list(store.root.glob(".url-*"))


@pytest.mark.parametrize("path", ["/absent", "/away"])
def test_what_is_not_there(server: tuple[str, list[str]], store: BlobStore, path: str) -> None:
    with pytest.raises(RemoteError) as caught:
        download(f"{server[0]}{path}", store=store, limit=1 << 20)
    assert caught.value.code == "PVB706"


@pytest.mark.parametrize("path", ["/file", "/endless"])
def test_more_than_the_limit_is_refused(server: tuple[str, list[str]], store: BlobStore, path: str) -> None:
    with pytest.raises(InputError) as caught:
        download(f"{server[0]}{path}", store=store, limit=len(DATA) - 1)
    assert caught.value.code == "PVB739"
    assert not list(store.root.glob("**/*[0-9a-f]"))


@pytest.mark.parametrize(
    "url", ["https://example.org/x", "http://127.0.0.1:1/x", "http://localhost/x", "http://[::1]/x"]
)
def test_addresses_that_may_be_asked(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/x",
        "ftp://example.org/x",
        "file:///etc/passwd",
        "https://user:word@example.org/x",
        "https:///x",
        "https://[x/",
        "http://127.0.0.1.example.org/x",
        "https://example.org/\x1b",
        "x",
        "",
    ],
)
def test_addresses_that_may_not(url: str) -> None:
    with pytest.raises(PodvmError) as caught:
        check_url(url)
    assert caught.value.code == "PVB739"
