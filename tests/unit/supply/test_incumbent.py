"""cloud-api-adaptor's pin file: taken where its schema allows it, and the set that it becomes."""

from __future__ import annotations

import pytest

from podvm_builder.errors import InputError, InputErrors
from podvm_builder.supply.incumbent import import_versions
from podvm_builder.supply.set_document import parse_set

COMMIT = "cf82bb35c80320178bf7570252fe75d6fb263209"
VERSIONS = f"""
# pins
tools:
  golang: 1.25.13
  mkosi: v26
  helm: {{version: v4.0.4, sha256: {"2" * 64}}}
git:
  skopeo: {{url: https://example.org/skopeo, reference: v1.5.0}}
oci:
  pause: {{registry: registry.k8s.io/pause, tag: 3.9}}
  kata-containers:
    registry: ghcr.io/kata-containers/cached-artefacts
    reference: {COMMIT}
  guest-components:
    registry: ghcr.io/confidential-containers/guest-components
    reference: {"d" * 40}
cloudimg:
  ubuntu: {{noble: {{amd64: {{url: "https://example.org/i", checksum: "sha256:{"3" * 64}"}}}}}}
"""


def made(text: str = VERSIONS, tee: str = "amd", arch: str = "x86_64") -> str:
    return import_versions(text, file="versions.yaml", tee=tee, arch=arch).text


def test_the_pins_become_a_set_with_the_same_artifacts() -> None:
    found = {one.name: one for one in parse_set(made(), file="set.yaml").components}
    assert found["kata-agent"].location == f"ghcr.io/kata-containers/cached-artefacts/agent:{COMMIT}-x86_64"
    assert found["attestation-agent"].location.endswith(f"/attestation-agent:{'d' * 40}-amd_x86_64")
    # to YAML it is a number, and to the registry a tag
    assert found["pause"].location == "registry.k8s.io/pause:3.9"
    assert found["kata-agent"].policy is not None and found["kata-agent"].policy.commit == COMMIT
    assert "says nothing of its provenance" in (found["pause"].unverified or "")


def test_what_is_no_component_is_named() -> None:
    found = import_versions(VERSIONS, file="versions.yaml", tee="tdx", arch="x86_64")
    assert found.left_out == ("tools", "git", "cloudimg")


def test_the_tee_is_checked() -> None:
    with pytest.raises(InputError, match="`snp`") as caught:
        made(tee="snp")
    assert caught.value.code == "PVB731" and "write `amd`" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("tools:\n", "toolz:\n", "unknown key `toolz`"),
        ("git:\n", "gits:\n", "`git` is missing"),
        (COMMIT, COMMIT[:-1], "not a git commit of 40"),
        ("tag: 3.9", f"tag: 3.9, reference: {COMMIT}", "exactly one of `tag` and `reference`"),
        (", tag: 3.9", "", "exactly one of `tag` and `reference`"),
        ("registry: registry.k8s.io/pause, ", "", "`pause` lacks `registry`"),
        ("2" * 64, "2" * 63, "64 hex digits"),
        (f"sha256:{'3' * 64}", f"sha256:{'3' * 60}", "neither sha256"),
        ("reference: v1.5.0", "reference: v1.5.0, branch: x", "unknown key `branch`"),
        ("registry.k8s.io/pause", '"x\\ny"', "characters that no name"),
        ("golang: 1.25.13", "golang: []", "neither a version"),
    ],
)
def test_what_its_schema_does_not_allow(old: str, new: str, words: str) -> None:
    assert old in VERSIONS
    with pytest.raises(InputErrors) as caught:
        made(VERSIONS.replace(old, new, 1))
    assert all(error.code == "PVB757" and error.place is not None for error in caught.value.errors)
    assert any(words in error.message for error in caught.value.errors)


def test_a_pin_file_without_kata_is_refused() -> None:
    with pytest.raises(InputError, match="no `kata-containers`"):
        made(VERSIONS.replace("kata-containers:", "kata:"))
