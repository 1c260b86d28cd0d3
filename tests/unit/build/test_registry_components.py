"""Components from a registry of upstream's shape: what is locked, what is verified, and what a warm store asks for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podvm_builder.build.components.loading import load_lock
from podvm_builder.build.components.locking import lock_set
from podvm_builder.build.components.supplier import Supplier, open_supplier
from podvm_builder.errors import PodvmError
from podvm_builder.model.components import ComponentLock, GuestComponents, LockedComponent
from podvm_builder.supply.lock_document import parse_lock, render_lock
from podvm_builder.supply.set_document import parse_set
from podvm_builder.tools.oci import BlobStore, DockerConfig, RegistryClient
from tests.support.elf import elf_program
from tests.support.registry_content import Content, tar_gz, tar_zst
from tests.support.upstream import KATA, KATA_SIGNS, PROGRAMS, Upstream

pytest.importorskip("sigstore", reason="the sigstore library is not installed")
pytest.importorskip("oras", reason="the libraries for registries are not installed")


class Site:
    """A registry of upstream's shape, and a folder with the set."""

    def __init__(self, folder: Path, host: str, upstream: Upstream) -> None:
        self.folder, self.upstream = folder, upstream
        self.content = upstream.content
        self.store = BlobStore(folder / "store")
        self.set = upstream.write_set(folder, host)

    def supplier(self, store: BlobStore | None = None) -> Supplier:
        taken = store or self.store
        return open_supplier(
            base=self.folder,
            store=taken,
            open_client=lambda: RegistryClient(store=taken, config=DockerConfig()),
        )

    def lock(self, text: str | None = None) -> ComponentLock:
        supplier = self.supplier()
        try:
            return lock_set(parse_set(text or self.set, file="set.yaml"), supplier, say=lambda _: None)
        finally:
            supplier.close()

    def load(self, lock: ComponentLock, store: BlobStore | None = None) -> GuestComponents:
        supplier = self.supplier(store)
        try:
            return load_lock(lock, supplier, say=lambda _: None)
        finally:
            supplier.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    content = Content()
    with content.serve() as host:
        yield Site(tmp_path, host, Upstream(content))


def refused(work: Any, *args: Any) -> PodvmError:
    with pytest.raises(PodvmError) as caught:
        work(*args)
    return caught.value


def component(lock: ComponentLock, name: str) -> LockedComponent:
    return next(one for one in lock.components if one.name == name)


def test_a_release_is_locked_verified_and_loaded(site: Site) -> None:
    lock = site.lock()
    assert parse_lock(render_lock(lock), file="x") == lock
    found = site.load(lock)
    bin_ = "usr/local/bin"
    assert {path: file.data for path, file in found.files.items() if path.startswith(bin_)} == {
        f"{bin_}/{name}": PROGRAMS[name] for name in PROGRAMS if name != "pause"
    }
    assert found.files["pause_bundle/rootfs/pause"].data == PROGRAMS["pause"]
    assert found.files["pause_bundle/rootfs/pause"].mode == 0o755
    config = found.files["pause_bundle/config.json"]
    assert json.loads(config.data)["process"]["args"] == ["/pause"] and config.mode == 0o644
    said = {record.name: (record.verification, record.note) for record in found.records}
    assert said["pause"] == ("unverified", "has none")
    assert said["kata-agent"] == ("verified", f"signed by {KATA_SIGNS.uri}")
    assert [kind for kind, _ in said.values()].count("verified") == 6
    assert (found.arch, found.tee) == ("x86_64", "amd")


def test_an_unchanged_lock_and_a_warm_store_ask_nothing(site: Site) -> None:
    lock = site.lock()
    before = len(site.content.asked)

    def refuse(*_: object) -> Any:
        raise AssertionError("the network was asked")

    supplier = Supplier(base=site.folder, store=site.store, open_client=refuse, download=refuse)
    assert load_lock(lock, supplier, say=lambda _: None).files
    supplier.pull(lock, say=lambda _: None)
    assert len(site.content.asked) == before


def test_a_cold_store_is_filled_by_digest_and_never_by_tag(site: Site, tmp_path: Path) -> None:
    lock = site.lock()
    before = len(site.content.asked)
    cold = BlobStore(tmp_path / "cold")
    supplier = site.supplier(cold)
    supplier.pull(lock, say=lambda _: None)
    supplier.close()
    asked = site.content.asked[before:]
    assert asked and not [path for path in asked if "sha256:" not in path]
    before = len(site.content.asked)
    assert site.load(lock, cold).records
    assert len(site.content.asked) == before


def test_a_tag_that_moved_changes_nothing_until_it_is_locked_again(site: Site) -> None:
    lock = site.lock()
    new = tar_zst({"usr/bin/kata-agent": elf_program(code=b"new")})
    site.upstream.put("kata/agent", f"{KATA}-x86_64", new, KATA_SIGNS)
    assert site.load(lock).files["usr/local/bin/kata-agent"].data == PROGRAMS["kata-agent"]
    moved = site.lock()
    assert component(moved, "kata-agent").source.digest != component(lock, "kata-agent").source.digest
    assert component(moved, "agent-protocol-forwarder") == component(lock, "agent-protocol-forwarder")


def test_an_artifact_of_another_workflow_is_not_locked(site: Site) -> None:
    pack = tar_zst({"usr/bin/kata-agent": elf_program(code=b"evil")})
    site.upstream.put("kata/agent", f"{KATA}-x86_64", pack, dataclasses.replace(KATA_SIGNS, repository="evil/kata"))
    error = refused(site.lock)
    assert error.code == "PVB750" and "`kata-agent`" in error.message and "evil/kata" in error.message


def test_an_artifact_of_another_commit_is_not_locked(site: Site) -> None:
    pack = tar_zst({"usr/bin/kata-agent": elf_program(code=b"old")})
    site.upstream.put("kata/agent", f"{KATA}-x86_64", pack, dataclasses.replace(KATA_SIGNS, commit="e" * 40))
    error = refused(site.lock)
    assert error.code == "PVB750" and "e" * 40 in error.message


def test_an_artifact_without_provenance_is_not_locked(site: Site) -> None:
    pack = tar_zst({"usr/bin/kata-agent": elf_program(code=b"bare")})
    site.content.artifact("kata/agent", f"{KATA}-x86_64", pack)
    error = refused(site.lock)
    assert error.code == "PVB754" and "unverified: {reason: …}" in (error.hint or "")


@pytest.mark.parametrize(
    ("layers", "code"),
    [
        ([tar_zst({"usr/bin/other": PROGRAMS["kata-agent"]})], "PVB723"),
        ([b"no archive"], "PVB720"),
        ([tar_zst({"usr/bin/kata-agent": PROGRAMS["kata-agent"]})[:-9]], "PVB255"),
        ([tar_zst({"usr/bin/kata-agent": b"<html>"})], "PVB744"),
        ([tar_zst({"usr/bin/kata-agent": elf_program(machine=183)})], "PVB745"),
        ([tar_zst({"a": b"a"}), tar_zst({"b": b"b"})], "PVB741"),
    ],
    ids=["member", "no archive", "cut", "no program", "architecture", "layers"],
)
def test_an_artifact_that_is_not_what_it_should_be(site: Site, layers: list[bytes], code: str) -> None:
    site.content.artifact("kata/agent", f"{KATA}-x86_64", *layers)
    assert refused(site.lock).code == code


def test_an_image_without_the_file_or_the_architecture(site: Site) -> None:
    error = refused(site.lock, site.set.replace("/usr/bin/agent-protocol-forwarder", "/usr/bin/other"))
    assert error.code == "PVB723" and "`usr/bin/other`" in error.message
    text = site.set.replace("tee: amd", "tee: none\narch: s390x").replace("kata:", "#").replace("guest-c", "#")
    text = text.replace("tee: none\n", "").replace("pause:", "#")
    assert refused(site.lock, text).code == "PVB708"


def test_a_file_that_an_upper_layer_removed_is_not_there(site: Site) -> None:
    for gone in ("usr/bin/.wh.agent-protocol-forwarder", "usr/.wh.bin", "usr/bin/.wh..wh..opq"):
        layers = [
            tar_gz({"usr/bin/agent-protocol-forwarder": PROGRAMS["agent-protocol-forwarder"]}),
            tar_gz({gone: b""}),
        ]
        site.content.image("acme/agents", "1", {"amd64": layers})
        assert refused(site.lock).code == "PVB723", gone


def test_a_lock_that_pairs_a_signed_manifest_with_other_layers(site: Site) -> None:
    lock = site.lock()
    kata, agent = component(lock, "kata-agent"), component(lock, "attestation-agent")
    # everything here is genuine, and yet another program would run as kata-agent
    swapped = dataclasses.replace(
        kata,
        source=dataclasses.replace(kata.source, layers=agent.source.layers),
        files=(dataclasses.replace(agent.files[0], path=kata.files[0].path),),
    )
    forged = dataclasses.replace(lock, components=(swapped,))
    error = refused(site.load, forged)
    assert error.code == "PVB742" and "layers" in error.message


def test_a_lock_that_pairs_a_signed_index_with_another_manifest(site: Site) -> None:
    lock = site.lock()
    forwarder, pause = component(lock, "agent-protocol-forwarder"), component(lock, "pause")
    source = dataclasses.replace(pause.source, location=forwarder.source.location, index=forwarder.source.index)
    forged = dataclasses.replace(lock, components=(dataclasses.replace(pause, source=source),))
    error = refused(site.load, forged)
    assert error.code == "PVB742" and "index" in error.message
