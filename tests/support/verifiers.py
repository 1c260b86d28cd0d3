"""A KBS and an RVPS on loopback, as Trustee's protocols are described, and strict about what they take.

Both stand in front of one model of RVPS: a registration overwrites, nothing can be listed or deleted. `Trouble` makes
them fail in the ways that real ones do.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

ERRORS = "https://github.com/confidential-containers/kbs/errors"


class RvpsError(Exception):
    """What RVPS says of a message that it does not take."""


@dataclass
class Trouble:
    """What goes wrong, and when."""

    stop_after: int | None = None
    """Values that a registration stores before it fails."""
    answer_500_after_storing: bool = False
    answer_500: int = 0
    """How many requests are answered 500 before anything is done."""
    answer_503_to_get: int = 0
    change: Callable[[str, Any], Any] | None = None
    """What is stored instead of a value."""
    silent: threading.Event | None = None
    """Nothing is answered until it is set."""
    silent_writes_only: bool = False
    redirect: str | None = None
    body: bytes | None = None
    """Answered to every read, whatever was asked."""
    break_reads_after_write: bool = False
    drip: bool = False
    """A body of which a byte comes now and then, and never the last."""


@dataclass
class Rvps:
    """The model: names to JSON values, written by messages of type `sample`."""

    values: dict[str, Any] = field(default_factory=dict)
    trouble: Trouble = field(default_factory=Trouble)
    registrations: int = 0

    def register(self, text: str) -> None:
        self.registrations += 1
        message = json.loads(text)
        if not isinstance(message, dict) or not message.keys() <= {"version", "type", "payload"}:
            raise RvpsError("unknown fields in message")
        if message.get("version", "0.1.0") != "0.1.0":
            raise RvpsError("Version unmatched!")
        if message["type"] != "sample":
            raise RvpsError(f"Could not find extractor for {message['type']}")
        payload = json.loads(base64.b64decode(message["payload"], validate=True))
        if not isinstance(payload, dict):
            raise RvpsError("payload is no map")
        for count, (name, value) in enumerate(payload.items()):
            if count == self.trouble.stop_after:
                raise RvpsError("storage failed")
            change = self.trouble.change
            self.values[name] = value if change is None else change(name, value)


@dataclass
class Kbs:
    """A running KBS."""

    rvps: Rvps
    url: str
    requests: list[str] = field(default_factory=list)
    """Method and path of each request."""


def bearer(token: str) -> Callable[[str | None], bool]:
    return lambda header: header == f"Bearer {token}"


@contextmanager
def kbs(
    allowed: Callable[[str | None], bool] = lambda header: header is None,
    *,
    by_name: bool = True,
    certificate: Path | None = None,
) -> Iterator[Kbs]:
    """Run a KBS.

    Args:
        allowed: says of an Authorization header whether it is the administrator's.
        by_name: as Trustee 0.16 and newer; else as 0.14, which gives all values at once.
        certificate: file with key and certificate, for https.
    """
    running: Kbs

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._serve(None)

        def do_POST(self) -> None:
            self._serve(self.rfile.read(int(self.headers["Content-Length"])))

        def _serve(self, body: bytes | None) -> None:
            running.requests.append(f"{self.command} {self.path}")
            trouble = running.rvps.trouble
            if trouble.silent is not None and (body is not None or not trouble.silent_writes_only):
                trouble.silent.wait(20)
                self.close_connection = True
                return
            if trouble.answer_500:
                trouble.answer_500 -= 1
                self._answer(500, b"<html>")
            elif trouble.answer_503_to_get and body is None:
                trouble.answer_503_to_get -= 1
                self._answer(503, b"")
            elif trouble.redirect is not None:
                self.send_response(307)
                self.send_header("Location", trouble.redirect)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif not self.path.startswith("/kbs/v0/"):
                self._answer(404, b"")
            elif not allowed(self.headers.get("Authorization")):
                self._refuse("AdminAuthAccess", "admin access denied")
            elif body is None:
                self._read(self.path.removeprefix("/kbs/v0/"))
            else:
                self._write(self.path.removeprefix("/kbs/v0/"), body)

        def _read(self, path: str) -> None:
            trouble = running.rvps.trouble
            if trouble.break_reads_after_write and running.rvps.registrations:
                self._answer(500, b"")
            elif trouble.body is not None:
                self._answer(200, trouble.body)
            elif trouble.drip:
                self._drip()
            elif not by_name and path == "reference-value":
                self._answer(200, json.dumps(running.rvps.values).encode())
            elif by_name and path.startswith("reference-value/"):
                name = unquote(path.removeprefix("reference-value/"))
                if name in running.rvps.values:
                    self._answer(200, json.dumps(running.rvps.values[name]).encode())
                else:
                    self._rvps_error(
                        f"Failed to get reference_values: No reference value found for the given id: {name}"
                    )
            else:
                self._refuse("PluginNotFound", f"Plugin {path} not found", status=404)

        def _write(self, path: str, body: bytes) -> None:
            if path != "reference-value" or self.headers["Content-Type"] != "application/json":
                self._refuse("InvalidRequestPath", "invalid", status=404)
                return
            try:
                running.rvps.register(body.decode())
            except (RvpsError, ValueError, KeyError, TypeError) as error:
                self._rvps_error(f"Failed to register reference value: {error}")
                return
            self._answer(500 if running.rvps.trouble.answer_500_after_storing else 200, b"")

        def _rvps_error(self, message: str) -> None:
            self._refuse("RvpsError", f"RVPS configuration failed: {message}")

        def _refuse(self, kind: str, detail: str, status: int = 401) -> None:
            self._answer(status, json.dumps({"type": f"{ERRORS}/{kind}", "detail": detail}).encode())

        def _drip(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.close_connection = True
            with suppress(OSError):
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.01)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that gave up is no error of ours
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    running = Kbs(rvps=Rvps(), url=f"{scheme}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield running
    finally:
        if running.rvps.trouble.silent is not None:
            running.rvps.trouble.silent.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def rvps(*, by_name: bool = True) -> Iterator[tuple[Rvps, str]]:
    """Run an RVPS, and give its model and address."""
    import grpc

    model = Rvps()

    def register(request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            model.register(_only_text(request))
        except (RvpsError, ValueError, KeyError, TypeError) as error:
            context.abort(grpc.StatusCode.ABORTED, f"Register reference value: {error}")
        return b""

    def query(request: bytes, context: grpc.ServicerContext) -> bytes:
        if model.trouble.answer_503_to_get:
            model.trouble.answer_503_to_get -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        if model.trouble.body is not None:
            return model.trouble.body
        if not by_name:
            if request:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is empty")
            return _text(json.dumps(model.values))
        name = _only_text(request)
        return _text(json.dumps(model.values[name])) if name in model.values else b""

    service = grpc.method_handlers_generic_handler(
        "reference.ReferenceValueProviderService",
        {
            "RegisterReferenceValue": grpc.unary_unary_rpc_method_handler(register),
            "QueryReferenceValue": grpc.unary_unary_rpc_method_handler(query),
        },
    )
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield model, f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def _only_text(message: bytes) -> str:
    """Read a message of exactly one field, number 1, a string."""
    if not message or message[0] != 0x0A:
        raise RvpsError("no string in field 1")
    length, shift, at = 0, 0, 1
    while True:
        length |= (message[at] & 0x7F) << shift
        shift += 7
        at += 1
        if message[at - 1] < 0x80:
            break
    if len(message) != at + length:
        raise RvpsError("more than one field")
    return message[at:].decode()


def _text(text: str) -> bytes:
    data = text.encode()
    length, size = b"", len(data)
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return b"\x0a" + length + bytes([size]) + data
