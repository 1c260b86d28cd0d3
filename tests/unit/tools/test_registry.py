"""The registry client against a real registry, with a proxy in between that cuts, slows down, refuses and lies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from podvm_builder.errors import InputError, RemoteError
from podvm_builder.formats.oci import OCI_INDEX, Index, descriptor_to_json, parse_manifest
from podvm_builder.model.oci import Descriptor, Reference

pytest.importorskip("requests", reason="the libraries for registries are not installed")

from podvm_builder.tools.oci import BlobStore, DockerConfig, RegistryClient, Retries, Timeouts
from podvm_builder.tools.oci.http import retry_after
from tests.support.registry import Fault, Proxy, push_artifact, real_registry, to

LAYER = os.urandom(3 << 20)
OTHER = os.urandom(1 << 20)


class Desk:
    """A registry, a proxy before it, and what a test needs to pull through both."""

    def __init__(self, host: str, proxy: Proxy, folder: Path) -> None:
        self.host, self.proxy, self.folder = host, proxy, folder
        self.pauses: list[float] = []
        self.warnings: list[str] = []
        self.store = BlobStore(folder / "store")

    def client(
        self,
        *,
        mirrors: dict[str, list[str]] | None = None,
        timeouts: Timeouts | None = None,
        config: DockerConfig | None = None,
        attempts: int = 4,
    ) -> RegistryClient:
        return RegistryClient(
            store=self.store,
            config=config or DockerConfig(),
            mirrors=mirrors,
            retries=Retries(attempts=attempts, sleep=self.pauses.append, jitter=lambda: 0.0),
            timeouts=timeouts,
            warn=self.warnings.append,
        )

    def name(self, tag: str, host: str | None = None) -> Reference:
        return Reference(registry=host or self.proxy.host, repository=f"{self.folder.name}/agent", tag=tag)

    def push(self, *blobs: bytes, tag: str = "v1") -> list[Descriptor]:
        with self.client() as client:
            pushed = push_artifact(client, self.name(tag, self.host), list(blobs), self.folder)
        # pushing leaves nothing in the store
        assert self.store.get(pushed[0].digest) is None
        return pushed


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture
def desk(registry: str, tmp_path: Path) -> Iterator[Desk]:
    folder = tmp_path / tmp_path.name.lower().replace("_", "-").strip("-")
    folder.mkdir()
    with Proxy(to(registry)) as proxy:
        yield Desk(registry, proxy, folder)


def test_a_tag_is_resolved_and_all_is_pulled_once(desk: Desk) -> None:
    manifest, *layers = desk.push(LAYER, OTHER)
    with desk.client() as client:
        reference = desk.name("v1")
        found = client.resolve(reference)
        assert (found.digest, found.size, found.media_type) == (manifest.digest, manifest.size, manifest.media_type)
        document = parse_manifest(client.manifest(reference, found.digest))
        assert not isinstance(document, Index)
        paths = client.fetch_all(reference, [*document.layers, document.layers[0]])
        assert [path.read_bytes() for path in paths] == [LAYER, OTHER, LAYER]
        assert [layer.digest for layer in document.layers] == [layer.digest for layer in layers]
    before = len(desk.proxy.requests)
    with desk.client() as client:
        pinned = reference.pinned(found.digest)
        assert client.resolve(pinned).digest == found.digest
        assert client.fetch_all(pinned, layers)[0].read_bytes() == LAYER
    assert len(desk.proxy.requests) == before


def test_a_download_that_is_cut_goes_on_where_it_was(desk: Desk) -> None:
    _, layer = desk.push(LAYER)
    desk.proxy.faults = [Fault("/blobs/", cut=1_000_000), Fault("/blobs/", cut=1_500_000)]
    with desk.client() as client:
        assert client.fetch(desk.name("v1"), layer).read_bytes() == LAYER
    ranges = [headers.get("range") for headers in desk.proxy.asked("/blobs/")]
    assert ranges == [None, f"bytes=1000000-{len(LAYER) - 1}", f"bytes=2500000-{len(LAYER) - 1}"]
    assert desk.pauses == [0.25, 0.25]


def test_what_came_of_a_failed_run_is_kept_for_the_next(desk: Desk) -> None:
    _, layer = desk.push(LAYER)
    desk.proxy.faults = [Fault("/blobs/", cut=2_000_000), Fault("/blobs/", status=404)]
    with desk.client() as client, pytest.raises(RemoteError) as caught:
        client.fetch(desk.name("v1"), layer)
    assert caught.value.code == "PVB703"
    desk.proxy.requests.clear()
    with desk.client() as client:
        assert client.fetch(desk.name("v1"), layer).read_bytes() == LAYER
    assert desk.proxy.asked("/blobs/")[0]["range"] == f"bytes=2000000-{len(LAYER) - 1}"


def test_a_registry_that_knows_no_ranges(desk: Desk) -> None:
    _, layer = desk.push(LAYER)
    desk.proxy.faults = [Fault("/blobs/", cut=2_000_000), Fault("/blobs/", status=200, body=LAYER)]
    with desk.client() as client:
        assert client.fetch(desk.name("v1"), layer).read_bytes() == LAYER


def test_a_part_that_was_damaged_meanwhile_is_fetched_anew(desk: Desk) -> None:
    _, layer = desk.push(LAYER)
    partial = desk.store.root / "partial" / layer.digest.removeprefix("sha256:")
    for left in (b"x" * 1000, b"x" * len(LAYER), b"x" * (len(LAYER) + 1)):
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(left)
        with desk.client() as client:
            path = client.fetch(desk.name("v1"), layer)
        assert path.read_bytes() == LAYER
        path.unlink()


@pytest.mark.parametrize("what", ["flipped", "short", "long"])
def test_other_content_is_refused_and_thrown_away(desk: Desk, what: str) -> None:
    _, layer = desk.push(LAYER)
    body = {"flipped": LAYER[:-1] + bytes([LAYER[-1] ^ 1]), "short": LAYER[:-1], "long": LAYER + b"x"}[what]
    desk.proxy.faults = [Fault("/blobs/", times=9, status=200, body=body)]
    with desk.client() as client, pytest.raises(RemoteError, match="is not that") as caught:
        client.fetch(desk.name("v1"), layer)
    assert caught.value.code == "PVB705"
    assert caught.value.exit_code == 5
    assert desk.pauses == []
    assert desk.store.get(layer.digest) is None


def test_a_manifest_of_another_digest_is_refused(desk: Desk) -> None:
    manifest, _ = desk.push(LAYER)
    desk.proxy.faults = [Fault("/manifests/", times=9, flip=30)]
    with desk.client() as client, pytest.raises(RemoteError) as caught:
        client.manifest(desk.name("v1"), manifest.digest)
    assert caught.value.code == "PVB705"


def test_a_slow_registry_is_given_up_and_asked_again(desk: Desk) -> None:
    _, layer = desk.push(OTHER)
    desk.proxy.faults = [Fault("/blobs/", silent=2.0)]
    with desk.client(timeouts=Timeouts(read=0.3)) as client:
        assert client.fetch(desk.name("v1"), layer).read_bytes() == OTHER
    assert desk.proxy.asked("/blobs/")[1]["range"].startswith(f"bytes={len(OTHER) - 1}-")
    desk.store.get(layer.digest).unlink()  # type: ignore[union-attr]
    desk.proxy.faults = [Fault("/blobs/", times=9, silent=2.0)]
    with desk.client(timeouts=Timeouts(read=0.1), attempts=2) as client, pytest.raises(RemoteError) as caught:
        client.fetch(desk.name("v1"), Descriptor(media_type="x", digest=layer.digest, size=len(OTHER)))
    assert caught.value.code == "PVB704"
    assert "0.1 s" in caught.value.message


def test_a_503_is_waited_for_as_it_asks(desk: Desk) -> None:
    manifest, layer = desk.push(OTHER)
    desk.proxy.faults = [
        Fault("/manifests/", status=503, headers={"Retry-After": "7"}),
        Fault("/blobs/", times=2, status=429),
    ]
    with desk.client() as client:
        assert client.resolve(desk.name("v1")).digest == manifest.digest
        client.fetch(desk.name("v1"), layer)
    assert desk.pauses == [7.0, 0.25, 0.5]


def test_a_503_without_end_is_an_error_of_the_remote(desk: Desk) -> None:
    desk.push(OTHER)
    body = json.dumps({"errors": [{"code": "UNAVAILABLE", "message": "come\u001b[31m later"}]}).encode()
    desk.proxy.faults = [Fault("/manifests/", times=99, status=503, body=body)]
    with desk.client() as client, pytest.raises(RemoteError) as caught:
        client.resolve(desk.name("v1"))
    assert caught.value.code == "PVB704"
    assert caught.value.exit_code == 5
    assert "503 UNAVAILABLE come [31m later (4 attempts)" in caught.value.message
    desk.proxy.faults = [Fault("/manifests/", status=503, headers={"Retry-After": "86400"})]
    with desk.client() as client, pytest.raises(RemoteError) as caught:
        client.resolve(desk.name("v1"))
    assert caught.value.hint == "it asks to come back in 86400 s"


def test_a_registry_that_is_not_there(desk: Desk) -> None:
    with desk.client(attempts=2) as client, pytest.raises(RemoteError, match="refused") as caught:
        client.resolve(Reference.parse("127.0.0.1:9/team/agent:v1"))
    assert caught.value.code == "PVB704"
    assert len(desk.pauses) == 1


def test_what_is_not_there(desk: Desk) -> None:
    desk.push(OTHER)
    with desk.client() as client, pytest.raises(RemoteError, match="tag or digest `v2`") as caught:
        client.resolve(desk.name("v2"))
    assert caught.value.code == "PVB703"
    assert desk.pauses == []


def test_a_tag_that_moved_leaves_what_was_locked(desk: Desk) -> None:
    first, layer = desk.push(LAYER)
    with desk.client() as client:
        locked = desk.name("v1").pinned(client.resolve(desk.name("v1")).digest)
        assert client.moved(locked) is None
    second, _ = desk.push(OTHER)
    with desk.client() as client:
        now = client.moved(locked)
        assert now is not None
        assert now.digest == second.digest != first.digest == locked.digest
        assert client.resolve(locked).digest == first.digest
        assert client.fetch(locked, layer).read_bytes() == LAYER


def test_a_corrupted_blob_heals(desk: Desk) -> None:
    _, layer = desk.push(LAYER)
    with desk.client() as client:
        path = client.fetch(desk.name("v1"), layer)
        kept = path.stat()
        path.chmod(0o644)
        path.write_bytes(LAYER[:-1] + bytes([LAYER[-1] ^ 1]))
        os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
        assert client.fetch(desk.name("v1"), layer).read_bytes() == LAYER
    assert len(desk.proxy.asked("/blobs/")) == 2


def test_mirrors_serve_digests_and_the_registry_tags(desk: Desk) -> None:
    manifest, layer = desk.push(LAYER)
    with Proxy(to(desk.host)) as mirror:
        mirror.faults = [Fault("/blobs/", flip=5), Fault("/manifests/", times=9, status=404)]
        with desk.client(mirrors={desk.proxy.host: [mirror.host]}) as client:
            assert client.resolve(desk.name("v1")).digest == manifest.digest
            assert mirror.requests == []
            assert client.fetch(desk.name("v1"), layer).read_bytes() == LAYER
        # the mirror's bytes were others: it is told, and the registry itself is asked
        assert len(desk.warnings) == 1
        assert mirror.host in desk.warnings[0]
        assert len(desk.proxy.asked("/blobs/")) == 1
        desk.store.get(layer.digest).unlink()  # type: ignore[union-attr]
        desk.proxy.requests.clear()
        with desk.client(mirrors={desk.proxy.host: [mirror.host]}) as client:
            client.fetch(desk.name("v1"), layer)
        assert desk.proxy.requests == []


def test_a_mirror_stands_in_for_a_registry_that_is_away(desk: Desk) -> None:
    manifest, layer = desk.push(OTHER)
    away = desk.name("v1", "127.0.0.1:9")
    with desk.client(mirrors={"127.0.0.1:9": [f"{desk.proxy.host}"]}, attempts=1) as client:
        assert client.resolve(away).digest == manifest.digest
        client.fetch(away, layer)
        missing = Descriptor(media_type="x", digest="sha256:" + "0" * 64, size=1)
        with pytest.raises(RemoteError, match=f"before it, `{desk.proxy.host}` has no blob"):
            client.fetch(away, missing)
    with pytest.raises(InputError) as caught:
        desk.client(mirrors={"ghcr.io": ["https://mirror"]})
    assert caught.value.code == "PVB707"


def test_a_prefix_stands_before_the_repository(desk: Desk) -> None:
    with desk.client(mirrors={"ghcr.io": [f"{desk.proxy.host}/cache/ghcr"]}, attempts=1) as client:
        desk.proxy.faults = [Fault("/v2/cache/ghcr/team/agent/blobs/", status=200, body=OTHER)]
        blob = Descriptor(media_type="x", digest=desk.store.add_file(_file(desk, OTHER))[0], size=len(OTHER))
        desk.store.get(blob.digest).unlink()  # type: ignore[union-attr]
        assert client.fetch(Reference.parse("ghcr.io/team/agent:v1"), blob).read_bytes() == OTHER


PULL = """
import sys
from pathlib import Path
from podvm_builder.model.oci import Descriptor, Reference
from podvm_builder.tools.oci.http import retry_after
from podvm_builder.tools.oci import BlobStore, DockerConfig, RegistryClient
_, store, name, digest, size = sys.argv
with RegistryClient(store=BlobStore(Path(store)), config=DockerConfig()) as client:
    print(client.fetch(Reference.parse(name), Descriptor(media_type="x", digest=digest, size=int(size))))
"""


def test_two_processes_download_a_blob_once(desk: Desk) -> None:
    _, layer = desk.push(LAYER)
    desk.proxy.faults = [Fault("/blobs/", silent=1.0)]
    arguments = [str(desk.store.root), str(desk.name("v1")), layer.digest, str(layer.size)]
    both = [
        subprocess.Popen([sys.executable, "-c", PULL, *arguments], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    paths = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert paths == {str(desk.store.get(layer.digest))}
    assert len(desk.proxy.asked("/blobs/")) == 1


def test_one_failed_download_ends_the_others(desk: Desk) -> None:
    _, layer, other = desk.push(LAYER, OTHER)
    desk.proxy.faults = [
        Fault(layer.digest, status=404),
        Fault(other.digest, silent=0.3),
    ]
    with desk.client() as client:
        with pytest.raises(RemoteError) as caught:
            client.fetch_all(desk.name("v1"), [other, layer])
        assert caught.value.code == "PVB703"
        paths = client.fetch_all(desk.name("v1"), [other, layer])
    assert [path.read_bytes() for path in paths] == [OTHER, LAYER]


def test_referrers_by_their_tag(desk: Desk) -> None:
    """The registry does not know the request for referrers: they are in an index with a tag."""
    manifest, _ = desk.push(LAYER)
    bundle, _ = desk.push(OTHER, tag="bundle")
    kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
    with desk.client() as client:
        assert client.referrers(desk.name("v1"), manifest.digest) == []
        rows = [
            {**descriptor_to_json(bundle), "artifactType": kind},
            descriptor_to_json(bundle),
        ]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": rows}
        client.push_manifest(desk.name(manifest.digest.replace(":", "-"), desk.host), json.dumps(index).encode())
        assert [one.artifact_type for one in client.referrers(desk.name("v1"), manifest.digest)] == [kind, None]
        assert [one.digest for one in client.referrers(desk.name("v1"), manifest.digest, kind)] == [bundle.digest]
        # without a type of its own, that of its configuration counts
        empty = client.referrers(desk.name("v1"), manifest.digest, "application/vnd.oci.empty.v1+json")
        assert [one.digest for one in empty] == [bundle.digest]


def test_referrers_by_request_and_in_pages(desk: Desk) -> None:
    rows = [{"mediaType": "x", "digest": f"sha256:{number:064x}", "size": 1, "artifactType": "t"} for number in (1, 2)]
    pages = [json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [row]}).encode() for row in rows]
    link = {"Link": '</v2/more/referrers/x?n=1>; rel="next"'}
    desk.proxy.faults = [
        Fault("/referrers/sha256:", status=200, headers=link, body=pages[0]),
        Fault("/v2/more/referrers/x", status=200, body=pages[1]),
    ]
    with desk.client() as client:
        found = client.referrers(desk.name("v1"), "sha256:" + "0" * 64, "t")
    assert [one.digest for one in found] == [row["digest"] for row in rows]


def test_an_index_is_narrowed_to_an_architecture(desk: Desk) -> None:
    rows = [
        {"mediaType": "x", "digest": f"sha256:{number:064x}", "size": 1, "platform": platform}
        for number, platform in enumerate(
            [
                {"os": "unknown", "architecture": "unknown"},
                {"os": "windows", "architecture": "amd64"},
                {"os": "linux", "architecture": "amd64"},
                {"os": "linux", "architecture": "arm64", "variant": "v8"},
            ]
        )
    ]
    index = parse_manifest(json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": rows}).encode())
    assert isinstance(index, Index)
    assert RegistryClient.select_platform(index, "x86_64").digest == rows[2]["digest"]
    assert RegistryClient.select_platform(index, "aarch64").digest == rows[3]["digest"]
    with pytest.raises(InputError) as caught:
        RegistryClient.select_platform(index, "s390x")
    assert caught.value.code == "PVB708"
    assert caught.value.hint == "it has linux/amd64, linux/arm64/v8, windows/amd64"


@pytest.mark.parametrize("body", [b"<html>log in first</html>", b"[]", b"{}", b'{"schemaVersion": 1}'])
def test_what_is_no_manifest(desk: Desk, body: bytes) -> None:
    desk.proxy.faults = [Fault("/manifests/", status=200, headers={"Content-Type": "text/html"}, body=body)]
    with desk.client() as client, pytest.raises(RemoteError) as caught:
        client.resolve(desk.name("v1"))
    assert caught.value.code == "PVB706"


def test_a_proxy_of_the_environment_does_not_count_for_this_machine(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, _ = desk.push(OTHER)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with desk.client() as client:
        assert client.resolve(desk.name("v1")).digest == manifest.digest


def test_a_manifest_that_is_cut_is_asked_for_again(desk: Desk) -> None:
    manifest, _ = desk.push(OTHER)
    desk.proxy.faults = [Fault("/manifests/", cut=100)]
    with desk.client() as client:
        assert client.resolve(desk.name("v1")).digest == manifest.digest
    assert len(desk.pauses) == 1


def test_when_to_come_back() -> None:
    assert retry_after("120") == 120
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now=1445412480 - 30) == 30
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now=1445412480 + 30) == 0
    for text in (None, "", "soon", "\xb2", "-5", "9" * 5000):
        assert retry_after(text) is None


def test_a_push_that_is_not_taken(desk: Desk) -> None:
    desk.proxy.faults = [Fault("/blobs/uploads/", method="POST", status=405)]
    with desk.client() as client, pytest.raises(RemoteError) as caught:
        client.push_blob(desk.name("v1"), _file(desk, OTHER))
    assert caught.value.code == "PVB709"


def test_redirects_carry_no_credentials_and_keep_to_tls(desk: Desk) -> None:
    _, layer = desk.push(OTHER)
    config = DockerConfig([("x", {"auths": {desk.proxy.host: {"username": "me", "password": "secret"}}})])
    challenge = {"WWW-Authenticate": 'Basic realm="x"'}
    with Proxy(lambda *_: (200, {}, OTHER)) as elsewhere:
        moved = {"Location": f"http://{elsewhere.host}/storage?signature=abc"}
        desk.proxy.faults = [
            Fault("/blobs/", status=401, headers=challenge),
            Fault("/blobs/", status=307, headers=moved),
        ]
        with desk.client(config=config) as client:
            assert client.fetch(desk.name("v1"), layer).read_bytes() == OTHER
        assert "authorization" in desk.proxy.asked("/blobs/")[1]
        assert "authorization" not in elsewhere.requests[0][2]
    for target in ("http://registry.invalid/x?secret=1", "file:///etc/passwd", "/v2/again"):
        desk.proxy.faults = [
            Fault("/manifests/", status=307, headers={"Location": target}),
            Fault("/v2/again", times=9, status=302, headers={"Location": target}),
        ]
        with desk.client(config=config) as client, pytest.raises(RemoteError) as caught:
            client.resolve(desk.name("v1"))
        assert caught.value.code == "PVB706"
        assert "secret" not in caught.value.message


def _file(desk: Desk, data: bytes) -> Path:
    path = desk.folder / "file"
    path.write_bytes(data)
    return path
