"""A registry's content as upstream publishes it, and a small server of it on this machine.

What a real registry does with names, tokens and broken connections is tested with one elsewhere; here it only serves.
"""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import lzma
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
EMPTY = "application/vnd.oci.empty.v1+json"


def digest_of(data: bytes) -> str:
    """Return ``sha256:…``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar(members: Mapping[str, bytes]) -> bytes:
    """Return a tar archive of programs."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tar_xz(members: Mapping[str, bytes]) -> bytes:
    """Return one as guest-components are published."""
    return lzma.compress(tar(members))


def tar_gz(members: Mapping[str, bytes]) -> bytes:
    """Return one as layers of images are."""
    return gzip.compress(tar(members), mtime=0)


def tar_zst(members: Mapping[str, bytes]) -> bytes:
    """Return one as kata-agent is published."""
    try:
        from compression.zstd import compress  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        from zstandard import compress
    packed: bytes = compress(tar(members))
    return packed


@dataclass
class Content:
    """Manifests by name and by tag or digest, and blobs."""

    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    referrers: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def blob(self, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        """Put a blob there and return its descriptor."""
        self.blobs[digest_of(data)] = data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}

    def put(self, name: str, document: dict[str, Any], tag: str | None = None) -> dict[str, Any]:
        """Put a manifest or index there and return its descriptor."""
        data = json.dumps(document).encode()
        for key in [digest_of(data), *([tag] if tag else [])]:
            self.manifests[name, key] = (document["mediaType"], data)
        return {"mediaType": document["mediaType"], "digest": digest_of(data), "size": len(data)}

    def artifact(self, name: str, tag: str, *layers: bytes, title: str = "pack") -> str:
        """Put an artifact there as ``oras push`` does, and return its digest."""
        rows = [
            self.blob(
                layer, "application/vnd.oci.image.layer.v1.tar", annotations={"org.opencontainers.image.title": title}
            )
            for layer in layers
        ]
        found: str = self.put(name, manifest(self.blob(b"{}", EMPTY), rows, artifactType="application/x"), tag)[
            "digest"
        ]
        return found

    def image(self, name: str, tag: str, platforms: Mapping[str, list[bytes]]) -> tuple[str, dict[str, str]]:
        """Put an image of several platforms there; return the index's digest, and the manifests' by platform."""
        entries, found = [], {}
        for arch, layers in platforms.items():
            config = json.dumps({"architecture": arch, "os": "linux"}).encode()
            rows = [self.blob(layer, "application/vnd.oci.image.layer.v1.tar+gzip") for layer in layers]
            one = self.put(name, manifest(self.blob(config, "application/vnd.oci.image.config.v1+json"), rows))
            entries.append({**one, "platform": {"os": "linux", "architecture": arch}})
            found[arch] = one["digest"]
        index = self.put(name, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, tag)
        return index["digest"], found

    def refer(self, name: str, subject: str, data: bytes, kind: str = BUNDLE) -> None:
        """Put a document there that refers to a manifest."""
        layer, empty = self.blob(data, kind), self.blob(b"{}", EMPTY)
        of = {"mediaType": MANIFEST, "digest": subject, "size": 1}
        one = self.put(name, manifest(empty, [layer], artifactType=kind, subject=of))
        self.referrers.setdefault((name, subject), []).append({**one, "artifactType": kind})

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Return status, type and body of what is asked."""
        self.asked.append(path)
        parts = path.partition("?")[0].removeprefix("/v2/").split("/")
        name, kind, key = "/".join(parts[:-2]), parts[-2] if len(parts) > 1 else "", parts[-1]
        if kind == "blobs" and key in self.blobs:
            return 200, "application/octet-stream", self.blobs[key]
        if kind == "manifests" and (name, key) in self.manifests:
            return 200, *self.manifests[name, key]
        if kind == "referrers":
            rows = self.referrers.get((name, key), [])
            return 200, INDEX, json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": rows}).encode()
        return 404, "application/json", b'{"errors": []}'

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Serve it, and give the registry's name."""
        content = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, kind, body = content.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield f"127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()


def manifest(config: dict[str, Any], layers: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return a manifest."""
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers, **more}


def upload(content: Content, host: str, folder: Path) -> None:
    """Push a content to a registry that does not know the request for referrers: their lists are tags there."""
    from podvm_builder.model.oci import Reference
    from podvm_builder.tools.oci import BlobStore, DockerConfig, RegistryClient

    with RegistryClient(store=BlobStore(folder / "pushed"), config=DockerConfig()) as client:
        for (name, key), (kind, data) in sorted(content.manifests.items(), key=lambda row: row[1][0] == INDEX):
            document = json.loads(data)
            for row in [document.get("config"), *document.get("layers", ())] if kind == MANIFEST else []:
                blob = folder / "blob"
                blob.write_bytes(content.blobs[row["digest"]])
                client.push_blob(Reference.parse(f"{host}/{name}:x"), blob)
            mark = "@" if key.startswith("sha256:") else ":"
            client.push_manifest(Reference.parse(f"{host}/{name}{mark}{key}"), data)
        for (name, subject), rows in content.referrers.items():
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": rows}
            reference = Reference.parse(f"{host}/{name}:{subject.replace(':', '-')}")
            client.push_manifest(reference, json.dumps(index).encode())
