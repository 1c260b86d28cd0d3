"""Provenance: genuine bundles of others, those of a Sigstore instance of our own, and what is wrong with either."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import importlib.util
import json
import socket
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from podvm_builder.errors import Finding, FormatError, Lacking, PodvmError
from podvm_builder.model.components import Policy
from podvm_builder.tools.provenance import embedded_root, verify_bundle
from tests.support.recorded import assets
from tests.support.sigstore_ca import IN_TOTO, ISSUER, OwnSigstore, Workflow

pytest.importorskip("sigstore", reason="the sigstore library is not installed")

DATA = b"a program"
SHA256 = hashlib.sha256(DATA).hexdigest()
OURS = Policy(
    issuer=ISSUER,
    repository="acme/agents",
    workflow=".github/workflows/release.yaml",
    ref="refs/heads/main",
    commit="1" * 40,
    runner="github-hosted",
)
PUBLISH = "/attestations/publish/v1"
"""How the index's own predicate type ends; what stands before it is the index's host."""


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever reaches for the network fail; the vectors were fetched before."""
    _genuine()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("verification reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@cache
def _instance() -> OwnSigstore:
    return OwnSigstore()


def verify(bundle: bytes, *, root: bytes | None = None, sha256: str = SHA256, policy: Policy = OURS) -> str:
    return verify_bundle(bundle, trusted_root=root or _instance().trusted_root(), sha256=sha256, policy=policy).identity


def refused(bundle: bytes, **how: Any) -> PodvmError:
    with pytest.raises(PodvmError) as caught:
        verify(bundle, **how)
    return caught.value


# --- genuine bundles


def _predicate(bundle: bytes) -> str:
    """Return the predicate type of a bundle that the index published."""
    said = str(json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))["predicateType"])
    assert said.endswith(PUBLISH)
    return said


@cache
def _genuine() -> tuple[bytes, bytes, Policy] | str:
    """Return a package as it was published, the bundle that its workflow made, and who that was; or why not."""
    try:
        found = assets()
    except pytest.skip.Exception as skipped:
        return str(skipped.msg)
    name = "pypi_attestation_models-0.0.4a2.tar.gz"
    policy = Policy(
        issuer=ISSUER,
        repository="trailofbits/pypi-attestation-models",
        workflow=".github/workflows/release.yml",
        ref="refs/tags/v0.0.4a2",
        commit="153c9a3f5c152ef5405cba227676534658acde27",
        predicate=_predicate(found[f"{name}.sigstore"]),
    )
    return found[name], found[f"{name}.sigstore"], policy


@pytest.fixture
def genuine() -> tuple[bytes, bytes, Policy]:
    found = _genuine()
    if isinstance(found, str):
        pytest.skip(found)
    return found


def check_genuine(genuine: tuple[bytes, bytes, Policy], **how: Any) -> str:
    data, bundle, policy = genuine
    values = {"root": embedded_root(), "sha256": hashlib.sha256(data).hexdigest(), "policy": policy, **how}
    return verify(values.pop("bundle", bundle), **values)


def test_a_genuine_bundle_is_verified(genuine: tuple[bytes, bytes, Policy]) -> None:
    assert check_genuine(genuine).startswith("https://github.com/trailofbits/pypi-attestation-models/.github/workflows")


def test_genuine_slsa_provenance_of_a_github_workflow_is_verified() -> None:
    found = assets()
    name = "pypi_attestations-0.0.19.tar.gz"
    # PEP 740 has the parts of a bundle under other names
    attestation = json.loads(found[f"{name}.slsa.attestation"])
    material, envelope = attestation["verification_material"], attestation["envelope"]
    bundle = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "certificate": {"rawBytes": material["certificate"]},
            "tlogEntries": material["transparency_entries"],
        },
        "dsseEnvelope": {
            "payload": envelope["statement"],
            "payloadType": IN_TOTO,
            "signatures": [{"sig": envelope["signature"]}],
        },
    }
    policy = Policy(
        issuer=ISSUER, repository="trailofbits/pypi-attestations", workflow=None, ref="refs/tags/v0.0.19", commit=None
    )
    sha256 = hashlib.sha256(found[name]).hexdigest()
    said = verify(json.dumps(bundle).encode(), root=embedded_root(), sha256=sha256, policy=policy)
    assert "pypi-attestations" in said


@pytest.mark.parametrize(
    "change",
    [
        {"repository": "trailofbits/pypi-attestations"},
        {"workflow": ".github/workflows/other.yml"},
        {"issuer": "https://accounts.example"},
        {"commit": "253c9a3f5c152ef5405cba227676534658acde27"},
        {"ref": "refs/heads/main"},
        {"predicate": None},
        {"server": "https://git.example"},
    ],
)
def test_somebody_else_s_genuine_bundle(genuine: tuple[bytes, bytes, Policy], change: dict[str, Any]) -> None:
    with pytest.raises(Finding) as caught:
        check_genuine(genuine, policy=dataclasses.replace(genuine[2], **change))
    assert caught.value.code == "PVB750"


def test_one_flipped_byte_of_a_genuine_artifact(genuine: tuple[bytes, bytes, Policy]) -> None:
    data = bytearray(genuine[0])
    data[len(data) // 2] ^= 1
    with pytest.raises(Finding, match="about other content"):
        check_genuine(genuine, sha256=hashlib.sha256(data).hexdigest())


def test_one_flipped_byte_of_a_genuine_bundle(genuine: tuple[bytes, bytes, Policy]) -> None:
    document = json.loads(genuine[1])
    entry = document["verificationMaterial"]["tlogEntries"][0]
    holders: list[tuple[dict[str, Any], str]] = [
        (document["dsseEnvelope"], "payload"),
        (document["dsseEnvelope"]["signatures"][0], "sig"),
        (document["verificationMaterial"]["certificate"], "rawBytes"),
        (entry, "canonicalizedBody"),
        (entry["inclusionPromise"], "signedEntryTimestamp"),
        (entry["inclusionProof"], "rootHash"),
        (entry["logId"], "keyId"),
    ]
    for holder, key in holders:
        whole = holder[key]
        raw = bytearray(base64.b64decode(whole))
        raw[len(raw) // 2] ^= 1
        holder[key] = base64.b64encode(raw).decode()
        with pytest.raises(PodvmError) as caught:
            check_genuine(genuine, bundle=json.dumps(document).encode())
        assert caught.value.code in ("PVB750", "PVB751"), key
        holder[key] = whole


def test_one_flipped_byte_of_the_trusted_root(genuine: tuple[bytes, bytes, Policy]) -> None:
    root = json.loads(embedded_root())
    for holder in (
        *(row["publicKey"] for row in root["tlogs"]),
        *(row["publicKey"] for row in root["ctlogs"]),
        *(cert for row in root["certificateAuthorities"] for cert in row["certChain"]["certificates"]),
    ):
        raw = bytearray(base64.b64decode(holder["rawBytes"]))
        raw[-20] ^= 1
        holder["rawBytes"] = base64.b64encode(raw).decode()
    with pytest.raises(PodvmError) as caught:
        check_genuine(genuine, root=json.dumps(root).encode())
    assert caught.value.code in ("PVB750", "PVB753")


# --- an instance of our own


@pytest.mark.parametrize("version", ["v0.1", "v0.2", "v0.3"])
def test_provenance_and_signatures_of_every_version(version: str) -> None:
    own = _instance()
    for bundle in (own.attest(SHA256, version=version), own.sign(DATA, version=version)):
        assert verify(bundle) == Workflow().uri


def test_one_of_several_subjects_is_enough() -> None:
    assert verify(_instance().attest("0" * 64, SHA256))


def test_another_instance_is_not_trusted() -> None:
    for make in (lambda own: own.attest(SHA256), lambda own: own.sign(DATA)):
        assert refused(make(OwnSigstore())).code == "PVB750"


def test_a_signature_is_of_its_content_alone() -> None:
    own = _instance()
    other = hashlib.sha256(b"another").hexdigest()
    assert refused(own.sign(DATA), sha256=other).code == "PVB750"
    assert "other content" in refused(own.attest(SHA256), sha256=other).message
    assert "other content: nothing" in refused(own.attest()).message


WRONG: list[tuple[Workflow, str]] = [
    (Workflow(repository="evil/agents"), "repository"),
    (Workflow(workflow=".github/workflows/pr.yaml"), "workflow"),
    (Workflow(ref="refs/heads/dev"), "ref"),
    (Workflow(commit="2" * 40), "commit"),
    (Workflow(issuer="https://evil.example"), "issuer"),
    (Workflow(runner="self-hosted"), "runner"),
]


@pytest.mark.parametrize(("workflow", "field"), WRONG, ids=[field for _, field in WRONG])
def test_another_signer_is_refused_and_named(workflow: Workflow, field: str) -> None:
    for bundle in (_instance().attest(SHA256, workflow=workflow), _instance().sign(DATA, workflow=workflow)):
        error = refused(bundle)
        assert error.code == "PVB750" and f"{field} is `" in error.message


def test_what_a_policy_is_silent_about_is_not_compared() -> None:
    policy = Policy(issuer=ISSUER, repository="acme/agents", workflow=None, ref=None, commit=None)
    assert verify(_instance().attest(SHA256, workflow=Workflow(ref="refs/tags/v1", commit="3" * 40)), policy=policy)


def test_a_repository_whose_name_begins_alike_is_another() -> None:
    assert refused(_instance().attest(SHA256, workflow=Workflow(repository="acme/agents-fork"))).code == "PVB750"


STATEMENT = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "x", "digest": {"sha256": SHA256}}],
    "predicateType": "https://slsa.dev/provenance/v1",
}


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"predicate": "https://cyclonedx.org/bom"}, "cyclonedx"),
        ({"payload_type": "text/plain"}, "`text/plain`"),
        ({"statement": {**STATEMENT, "_type": "https://in-toto.io/Statement/v9"}}, "Statement/v9"),
        ({"statement": {**STATEMENT, "subject": "x"}}, "no in-toto statement"),
        ({"statement": {**STATEMENT, "subject": [{"digest": SHA256}]}}, "no in-toto statement"),
        ({"statement": {"predicateType": "x"}}, "no in-toto statement"),
        ({"statement": {**STATEMENT, "subject": [{"digest": {"sha512": SHA256}}]}}, "other content"),
    ],
)
def test_a_statement_that_is_no_provenance(how: dict[str, Any], words: str) -> None:
    error = refused(_instance().attest(SHA256, **how))
    assert error.code == "PVB750" and words in error.message


def test_a_bare_signature_is_no_statement() -> None:
    policy = dataclasses.replace(OURS, predicate="https://slsa.dev/provenance/v1")
    assert verify(_instance().attest(SHA256), policy=policy)
    assert "bare content" in refused(_instance().sign(DATA), policy=policy).message


@pytest.mark.parametrize("bundle", [b"", b"{}", b"[]", b"\xff", b'{"mediaType": "x"}', b"null"])
def test_what_is_no_bundle(bundle: bytes) -> None:
    error = refused(bundle)
    assert isinstance(error, FormatError) and error.code == "PVB751"


@pytest.mark.parametrize("root", [b"{}", b"[]", b"\xff", b'{"mediaType": "x"}'])
def test_what_is_no_trusted_root(root: bytes) -> None:
    error = refused(_instance().attest(SHA256), root=root)
    assert error.code == "PVB753"


def _drop(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for key in keys[:-1]:
            document = document[key]
        del document[keys[-1]]

    return change


@pytest.mark.parametrize(
    "change",
    [
        _drop("verificationMaterial", "tlogEntries"),
        _drop("verificationMaterial", "certificate"),
        _drop("verificationMaterial"),
        _drop("dsseEnvelope"),
        _drop("dsseEnvelope", "signatures"),
        _drop("mediaType"),
        lambda document: document["verificationMaterial"]["tlogEntries"].clear(),
        lambda document: document["verificationMaterial"]["tlogEntries"][0].pop("inclusionProof"),
        lambda document: document["verificationMaterial"]["tlogEntries"][0].update(integratedTime="1"),
        lambda document: document["verificationMaterial"]["tlogEntries"][0].update(logIndex="-1"),
        lambda document: document["dsseEnvelope"]["signatures"].append(document["dsseEnvelope"]["signatures"][0]),
    ],
)
def test_a_bundle_that_lacks_something_fails(change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(_instance().attest(SHA256))
    change(document)
    assert refused(json.dumps(document).encode()).code in ("PVB750", "PVB751")


def test_a_trusted_root_without_logs_trusts_nothing() -> None:
    root = json.loads(_instance().trusted_root())
    for key in ("tlogs", "ctlogs", "certificateAuthorities"):
        cut = json.dumps({**root, key: []}).encode()
        assert refused(_instance().attest(SHA256), root=cut).code in ("PVB750", "PVB753"), key


def test_without_the_library_nothing_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(Lacking) as caught:
        verify(_instance().attest(SHA256))
    assert caught.value.code == "PVB752" and "podvm-build[sign]" in (caught.value.hint or "")
