"""From sets to locks to the files of an image, without a registry; what each lie comes to."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from podvm_builder.build.components.loading import load_lock
from podvm_builder.build.components.locking import lock_set, rebase
from podvm_builder.build.components.supplier import Supplier
from podvm_builder.errors import PodvmError
from podvm_builder.model.components import ComponentLock, GuestComponents
from podvm_builder.supply.lock_document import parse_lock, render_lock
from podvm_builder.supply.set_document import parse_set
from podvm_builder.tools.oci.store import BlobStore
from tests.support.elf import elf_program
from tests.support.sigstore_ca import OwnSigstore, Workflow

pytest.importorskip("sigstore", reason="the sigstore library is not installed")

AGENT = elf_program(code=b"agent")


def no_network(*_: object) -> Any:
    raise AssertionError("the network was asked")


class Bench:
    """A folder with a set, and a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = BlobStore(folder / "store")
        self.said: list[str] = []

    def supplier(self, store: BlobStore | None = None) -> Supplier:
        return Supplier(base=self.folder, store=store or self.store, open_client=no_network, download=no_network)

    def write(self, name: str, data: bytes) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(data)

    def lock(self, body: str) -> ComponentLock:
        return lock_set(parse_set(f"schema: 1\n{body}", file="set.yaml"), self.supplier(), say=self.said.append)

    def load(self, lock: ComponentLock, **how: Any) -> GuestComponents:
        return load_lock(lock, self.supplier(how.pop("store", None)), say=self.said.append, **how)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def refused(work: Any, *args: Any, **how: Any) -> PodvmError:
    with pytest.raises(PodvmError) as caught:
        work(*args, **how)
    return caught.value


def archive(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


UNVERIFIED = "unverified: {reason: made here}"
VERIFIED = "verify: {repository: acme/agents}"


def signed(bench: Bench, data: bytes = AGENT, **workflow: str) -> OwnSigstore:
    own = OwnSigstore()
    bench.write("agent", data)
    bench.write("root.json", own.trusted_root())
    digest = hashlib.sha256(data).hexdigest()
    bench.write("agent.sigstore.json", own.attest(digest, workflow=Workflow(**workflow)))
    return own


def test_a_local_program_is_locked_with_its_digest_and_recorded_as_unverified(bench: Bench) -> None:
    bench.write("agent", AGENT)
    lock = bench.lock(f"components: {{agent: {{path: agent, licence: MIT, {UNVERIFIED}}}}}")
    found = bench.load(parse_lock(render_lock(lock), file="x"))
    assert found.files["usr/local/bin/agent"].data == AGENT
    assert found.files["usr/local/bin/agent"].mode == 0o755
    (record,) = found.records
    digest = hashlib.sha256(AGENT).hexdigest()
    assert (record.name, record.path, record.sha256) == ("agent", "/usr/local/bin/agent", digest)
    assert (record.source, record.digest, record.licence) == ("path agent", f"sha256:{digest}", "MIT")
    assert (record.verification, record.note) == ("unverified", "made here")
    assert any("accepted unverified: made here" in line for line in bench.said)


def test_a_program_out_of_an_archive(bench: Bench) -> None:
    bench.write("pack.tar.gz", archive(bin__agent=AGENT, README=b"x"))
    lock = bench.lock(f"components: {{agent: {{path: pack.tar.gz, file: bin/agent, {UNVERIFIED}}}}}")
    assert bench.load(lock).files["usr/local/bin/agent"].data == AGENT


def test_an_archive_whose_member_is_missing(bench: Bench) -> None:
    bench.write("pack.tar.gz", archive(bin__agent=AGENT))
    error = refused(bench.lock, f"components: {{agent: {{path: pack.tar.gz, file: agent, {UNVERIFIED}}}}}")
    assert error.code == "PVB723" and "`agent`" in error.message


def test_stand_ins(bench: Bench) -> None:
    found = bench.load(bench.lock("components: {kata-agent: {selftest: true}}"))
    (record,) = found.records
    assert (record.source, record.verification) == ("selftest", "selftest")
    assert refused(bench.lock, "components: {sshd: {selftest: true}}").code == "PVB733"


def test_provenance_is_verified_when_locked_and_again_when_loaded(bench: Bench) -> None:
    signed(bench)
    lock = bench.lock(f"trusted_root: root.json\ncomponents: {{agent: {{path: agent, {VERIFIED}}}}}")
    (one,) = lock.components
    assert one.bundle is not None and one.bundle.origin == "agent.sigstore.json"
    assert lock.trusted_root is not None and lock.trusted_root.origin == "root.json"
    (record,) = bench.load(lock).records
    assert record.verification == "verified" and record.note == f"signed by {Workflow().uri}"


def test_a_program_of_somebody_else_is_not_locked(bench: Bench) -> None:
    signed(bench, repository="evil/agents")
    body = f"trusted_root: root.json\ncomponents: {{agent: {{path: agent, {VERIFIED}}}}}"
    error = refused(bench.lock, body)
    assert error.code == "PVB750" and "`agent`" in error.message and "evil/agents" in error.message


def test_a_program_without_bundle_is_not_locked(bench: Bench) -> None:
    signed(bench)
    (bench.folder / "agent.sigstore.json").unlink()
    body = f"trusted_root: root.json\ncomponents: {{agent: {{path: agent, {VERIFIED}}}}}"
    assert refused(bench.lock, body).code == "PVB754"


def test_the_library_s_root_does_not_trust_our_instance(bench: Bench) -> None:
    signed(bench)
    assert refused(bench.lock, f"components: {{agent: {{path: agent, {VERIFIED}}}}}").code == "PVB750"


def test_a_root_given_later_counts(bench: Bench) -> None:
    own = signed(bench)
    lock = bench.lock(f"trusted_root: root.json\ncomponents: {{agent: {{path: agent, {VERIFIED}}}}}")
    assert bench.load(lock, root=own.trusted_root()).records[0].verification == "verified"
    assert refused(bench.load, lock, root=OwnSigstore().trusted_root()).code == "PVB750"


def test_a_warm_store_needs_neither_network_nor_files(bench: Bench) -> None:
    signed(bench)
    lock = bench.lock(f"trusted_root: root.json\ncomponents: {{agent: {{path: agent, {VERIFIED}}}}}")
    for name in ("agent", "agent.sigstore.json", "root.json"):
        (bench.folder / name).unlink()
    assert bench.load(lock).records[0].verification == "verified"


def test_a_root_that_the_library_does_not_bring_any_more(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = signed(bench).trusted_root()
    module = "podvm_builder.build.components"
    monkeypatch.setattr(f"{module}.locking.embedded_root", lambda: root)
    monkeypatch.setattr(f"{module}.supplier.embedded_root", lambda: root)
    lock = bench.lock(f"components: {{agent: {{path: agent, {VERIFIED}}}}}")
    assert lock.trusted_root is not None and lock.trusted_root.origin == "sigstore"
    assert bench.load(lock, store=BlobStore(tmp_path / "cold")).records[0].verification == "verified"
    monkeypatch.setattr(f"{module}.supplier.embedded_root", OwnSigstore().trusted_root)
    error = refused(bench.load, lock, store=BlobStore(tmp_path / "colder"))
    assert error.code == "PVB755" and "--trusted-root" in (error.hint or "")
    # the former is still in the warm store
    assert bench.load(lock).records[0].verification == "verified"


def test_a_cold_store_takes_the_files_again_and_checks_them(bench: Bench, tmp_path: Path) -> None:
    signed(bench)
    lock = bench.lock(f"trusted_root: root.json\ncomponents: {{agent: {{path: agent, {VERIFIED}}}}}")
    assert bench.load(lock, store=BlobStore(tmp_path / "cold")).records[0].verification == "verified"
    for number, name in enumerate(("agent", "agent.sigstore.json", "root.json")):
        whole = (bench.folder / name).read_bytes()
        bench.write(name, whole[:-1] + bytes([whole[-1] ^ 1]))
        error = refused(bench.load, lock, store=BlobStore(tmp_path / f"cold{number}"))
        assert error.code == "PVB742" and name in error.message
        bench.write(name, whole)


def test_a_lock_that_lies_about_a_file_is_found_out(bench: Bench) -> None:
    bench.write("pack.tar.gz", archive(agent=AGENT))
    lock = bench.lock(f"components: {{agent: {{path: pack.tar.gz, file: agent, {UNVERIFIED}}}}}")
    (one,) = lock.components
    (file,) = one.files
    lie = dataclasses.replace(file, digest=f"sha256:{'0' * 64}")
    forged = dataclasses.replace(lock, components=(dataclasses.replace(one, files=(lie,)),))
    assert refused(bench.load, forged).code == "PVB742"


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"<html>404</html>", "PVB744"), (b"", "PVB743"), (elf_program(machine=183), "PVB745")],
)
def test_what_is_no_program_for_this_processor(bench: Bench, data: bytes, code: str) -> None:
    bench.write("agent", data)
    assert refused(bench.lock, f"components: {{agent: {{path: agent, {UNVERIFIED}}}}}").code == code


def test_a_digest_that_the_set_pins(bench: Bench) -> None:
    bench.write("agent", AGENT)
    good = hashlib.sha256(AGENT).hexdigest()
    assert bench.lock(f"components: {{agent: {{path: agent, sha256: {good}, {UNVERIFIED}}}}}")
    error = refused(bench.lock, f"components: {{agent: {{path: agent, sha256: {'a' * 64}, {UNVERIFIED}}}}}")
    assert error.code == "PVB742" and good in error.message


def test_a_file_that_is_a_way_out(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "agent").symlink_to("/bin/sh")
    assert refused(bench.lock, f"components: {{agent: {{path: agent, {UNVERIFIED}}}}}").code == "PVB735"
    assert refused(bench.lock, f"components: {{absent: {{path: absent, {UNVERIFIED}}}}}").code == "PVB743"


def test_a_lock_above_its_set_has_longer_paths(bench: Bench) -> None:
    inner = Bench(bench.folder / "sets")
    signed(inner)
    lock = inner.lock(f"trusted_root: root.json\ncomponents: {{agent: {{path: agent, {VERIFIED}}}}}")
    moved = rebase(lock, of=inner.folder, to=bench.folder)
    (one,) = moved.components
    assert (one.source.location, one.bundle and one.bundle.origin) == ("sets/agent", "sets/agent.sigstore.json")
    assert moved.trusted_root is not None and moved.trusted_root.origin == "sets/root.json"
    assert bench.load(moved).records[0].verification == "verified"
    assert refused(rebase, lock, of=inner.folder, to=bench.folder / "elsewhere").code == "PVB735"


def test_the_pause_bundle_has_a_configuration(bench: Bench) -> None:
    from podvm_builder.build.components.contents import runtime_config

    config = json.loads(runtime_config("/pause"))
    assert config["process"]["args"] == ["/pause"] and config["root"] == {"path": "rootfs", "readonly": True}


def test_a_program_by_url_with_its_bundle_beside_it(bench: Bench, tmp_path: Path) -> None:
    own = OwnSigstore()
    url = "https://acme.example/pack.tar.gz"
    pack = archive(bin__agent=AGENT)
    served = {url: pack, f"{url}.sigstore.json": own.attest(hashlib.sha256(pack).hexdigest())}
    asked: list[str] = []
    bench.write("root.json", own.trusted_root())

    def supplier(store: BlobStore) -> Supplier:
        def fetch(wanted: str, limit: int) -> tuple[str, int]:
            asked.append(wanted)
            data = served[wanted]
            assert len(data) <= limit
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            store.add(digest, len(data), [data])
            return digest, len(data)

        return Supplier(base=bench.folder, store=store, open_client=no_network, download=fetch)

    body = f"schema: 1\ntrusted_root: root.json\ncomponents: {{agent: {{url: '{url}', file: bin/agent, {VERIFIED}}}}}"
    lock = lock_set(parse_set(body, file="set.yaml"), supplier(bench.store), say=bench.said.append)
    assert asked == [url, f"{url}.sigstore.json"]
    assert load_lock(lock, supplier(bench.store), say=bench.said.append).records[0].verification == "verified"
    assert len(asked) == 2
    cold = BlobStore(tmp_path / "cold")
    (record,) = load_lock(lock, supplier(cold), say=bench.said.append).records
    assert (record.verification, record.source) == ("verified", f"url {url}") and len(asked) == 4
    served[url] = archive(bin__agent=elf_program(code=b"evil"))
    error = refused(load_lock, lock, supplier(BlobStore(tmp_path / "colder")), say=bench.said.append)
    assert error.code == "PVB742" and url in error.message
