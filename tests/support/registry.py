"""A real registry on this machine, Debian's ``docker-registry``, and a proxy before it that can misbehave."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from podvm_builder.formats.oci import OCI_MANIFEST, descriptor_to_json
from podvm_builder.model.oci import Descriptor, Reference
from podvm_builder.tools.oci import RegistryClient
from tests.support import debian

Answer = tuple[int, Mapping[str, str], bytes]
Upstream = Callable[[str, str, Mapping[str, str], bytes], Answer]
"""Takes method, path, headers and body."""
EMPTY = b"{}"


@dataclass
class Fault:
    """What the proxy does with the next request whose method and path fit."""

    path: str
    """A part of it."""
    times: int = 1
    method: str = "GET"
    status: int | None = None
    """Answer with this instead of the registry."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    """Close the connection after so many bytes of the body."""
    silent: float = 0.0
    """Seconds before the body's last byte."""
    flip: int | None = None
    """Change the byte there."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that went away."""


class Proxy:
    """An HTTP server that hands requests on; counts them, and fails where it is told to."""

    def __init__(self, upstream: Upstream) -> None:
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, Mapping[str, str]]] = []
        self._upstream = upstream
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, part: str, method: str = "GET") -> list[Mapping[str, str]]:
        """Return the headers of the requests whose method and path fit."""
        return [headers for one, path, headers in self.requests if one == method and part in path]

    def _fault(self, method: str, path: str) -> Fault:
        with self._lock:
            for fault in self.faults:
                if fault.times and fault.method == method and fault.path in path:
                    fault.times -= 1
                    return fault
        return Fault("")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                sent = self.rfile.read(int(headers.get("content-length", 0)))
                with proxy._lock:
                    proxy.requests.append((self.command, self.path, headers))
                fault = proxy._fault(self.command, self.path)
                if fault.status is not None:
                    status, told, body = fault.status, fault.headers, fault.body
                else:
                    status, told, body = proxy._upstream(self.command, self.path, headers, sent)
                if fault.flip is not None:
                    body = body[: fault.flip] + bytes([body[fault.flip] ^ 1]) + body[fault.flip + 1 :]
                self.send_response(status)
                for name, value in told.items():
                    if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                        self.send_header(name, value)
                length = told.get("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(body)))
                self.end_headers()
                try:
                    self.send(body, fault)
                except OSError:
                    self.close_connection = True

            def send(self, body: bytes, fault: Fault) -> None:
                if fault.cut is not None:
                    self.wfile.write(body[: fault.cut])
                    self.wfile.flush()
                    self.close_connection = True
                elif fault.silent:
                    self.wfile.write(body[:-1])
                    self.wfile.flush()
                    time.sleep(fault.silent)
                    self.wfile.write(body[-1:])
                else:
                    self.wfile.write(body)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = answer  # noqa: N815 - the names are those of http.server

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


def to(host: str) -> Upstream:
    """Return an upstream that is a server of this machine."""

    def hand_on(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        connection = http.client.HTTPConnection(host, timeout=30)
        try:
            kept = {name: value for name, value in headers.items() if name not in ("connection", "transfer-encoding")}
            connection.request(method, path, body=body, headers=kept)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    return hand_on


@contextmanager
def real_registry(folder: Path, auth: str = "") -> Iterator[str]:
    """Run a registry on a port of this machine and give its host.

    Args:
        folder: where it keeps its files.
        auth: the ``auth`` section of its configuration, as YAML in flow style.
    """
    program = debian.command("/usr/bin/docker-registry", ("docker-registry",))
    config = folder / "registry.yml"
    config.write_text(
        "version: 0.1\n"
        "log: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}, delete: {{enabled: true}}}}\n"
        "http: {addr: '127.0.0.1:0', relativeurls: true, debug: {addr: ''}}\n" + (f"auth: {auth}\n" if auth else "")
    )
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([*program, "serve", str(config)], stdout=log, stderr=log)
    try:
        yield f"127.0.0.1:{_port(process)}"
    finally:
        process.terminate()
        process.wait(10)


def _port(process: subprocess.Popen[bytes]) -> int:
    """Return the port that a process listens on: it chose a free one itself."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            sockets = {str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir() if link.is_symlink()}
        except OSError:
            sockets = set()
        rows = [line.split() for line in Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]]
        for row in rows:
            if row[3] == "0A" and f"socket:[{row[9]}]" in sockets:
                return int(row[1].partition(":")[2], 16)
        time.sleep(0.02)
    raise AssertionError("the registry did not start")


def push_artifact(client: RegistryClient, reference: Reference, blobs: list[bytes], folder: Path) -> list[Descriptor]:
    """Push an artifact of these layers under a reference; return the manifest's descriptor and those of the layers."""
    descriptors = []
    for number, data in enumerate([EMPTY, *blobs]):
        path = folder / f"push-{number}"
        path.write_bytes(data)
        descriptors.append(client.push_blob(reference, path))
        path.unlink()
    config, *layers = descriptors
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor_to_json(config) | {"mediaType": "application/vnd.oci.empty.v1+json"},
        "layers": [descriptor_to_json(layer) for layer in layers],
    }
    return [client.push_manifest(reference, json.dumps(manifest).encode()), *layers]
