"""Component sets: what they mean, and what is wrong with those that mean nothing."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from podvm_builder.errors import InputErrors
from podvm_builder.model.components import Policy, SourceKind
from podvm_builder.supply import published
from podvm_builder.supply.set_document import parse_set
from podvm_builder.supply.set_schema import set_schema
from tests.conftest import PROJECT

KATA = "cf82bb35c80320178bf7570252fe75d6fb263209"
GUEST = "dcd55ea16ea4f4bcb87c1420f16af92e9eb15f2f"
SET = f"""
schema: 1
tee: amd
kata: {{reference: {KATA}}}
guest-components: {{reference: {GUEST}, verify: {{workflow: .github/workflows/publish.yml}}}}
pause: {{image: registry.k8s.io/pause:3.9, unverified: {{reason: published without provenance}}}}
components:
  agent-protocol-forwarder: {{image: "quay.io/acme/agents:1", file: /usr/local/bin/agent-protocol-forwarder,
    verify: {{repository: acme/agents}}}}
  process-user-data: {{selftest: true}}
"""


def errors(text: str) -> list[tuple[str, str, str]]:
    with pytest.raises(InputErrors) as caught:
        parse_set(text, file="set.yaml")
    assert all(error.place is not None and error.place.line for error in caught.value.errors)
    return [(error.code, error.message, error.hint or "") for error in caught.value.errors]


def test_a_set_says_where_everything_comes_from_and_goes() -> None:
    found = {one.name: one for one in parse_set(SET, file="set.yaml").components}
    assert list(found) == sorted(found)
    kata = found["kata-agent"]
    assert kata.location == f"ghcr.io/kata-containers/cached-artefacts/agent:{KATA}-x86_64"
    assert (kata.kind, kata.licence) == (SourceKind.ARTIFACT, "Apache-2.0")
    assert [(file.path, file.member, file.mode) for file in kata.files] == [
        ("/usr/local/bin/kata-agent", "usr/bin/kata-agent", 0o755)
    ]
    base = f"ghcr.io/confidential-containers/guest-components/{{}}:{GUEST}-{{}}"
    assert found["attestation-agent"].location == base.format("attestation-agent", "amd_x86_64")
    assert found["api-server-rest"].location == base.format("api-server-rest", "x86_64")
    assert [file.path for file in found["pause"].files] == ["/pause_bundle/rootfs/pause"]
    assert found["pause"].unverified == "published without provenance"
    forwarder = found["agent-protocol-forwarder"]
    assert forwarder.files[0].member == "usr/local/bin/agent-protocol-forwarder"
    assert found["process-user-data"].policy is None and found["process-user-data"].unverified is None


def test_a_release_has_the_policy_of_its_project_and_commit() -> None:
    found = {one.name: one for one in parse_set(SET, file="set.yaml").components}
    assert found["kata-agent"].policy == Policy(
        issuer="https://token.actions.githubusercontent.com",
        repository="kata-containers/kata-containers",
        workflow=None,
        ref="refs/heads/main",
        commit=KATA,
    )
    agent = found["attestation-agent"].policy
    assert agent is not None
    assert (agent.repository, agent.commit, agent.workflow) == (
        "confidential-containers/guest-components",
        GUEST,
        ".github/workflows/publish.yml",
    )


def test_a_component_of_ones_own_takes_the_place_of_a_release_s() -> None:
    found = parse_set(f"{SET}  kata-agent: {{selftest: true}}\n", file="set.yaml")
    assert {one.name: one.kind for one in found.components}["kata-agent"] is SourceKind.SELFTEST


@pytest.mark.parametrize(
    ("tee", "arch", "right"),
    [
        ("snp", "x86_64", "amd"),
        ("se-attester", "s390x", "se"),
        ("az-snp-vtpm", "x86_64", "az-cvm-vtpm"),
        ("tdz", "x86_64", "tdx"),
        ("tdx", "aarch64", "none, cca"),
        ("se", "x86_64", "none, amd, az-cvm-vtpm, tdx, cca"),
    ],
)
def test_a_tee_that_no_artifact_has_is_refused_with_the_right_one(tee: str, arch: str, right: str) -> None:
    ((code, message, hint),) = errors(f"schema: 1\narch: {arch}\ntee: {tee}\nguest-components: {{reference: abc}}\n")
    assert code == "PVB731" and f"`{tee}`" in message and right in hint


def test_every_tag_has_a_published_architecture() -> None:
    for tee, archs in published.ATTESTERS.items():
        for arch in archs:
            assert published.wrong_tee(tee, arch) is None


def test_tags_are_cut_and_cleaned_as_the_publisher_does_it() -> None:
    assert published.tag("v1.0+x/y", "x86_64") == "v1.0_x_y-x86_64"
    long = published.tag("a" * 200, "x86_64", "az-cvm-vtpm")
    assert len(long) == 128 and long.endswith("a-az-cvm-vtpm_x86_64")


OK = "unverified: {reason: x}"


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("", "PVB730", "names no component"),
        ("tee: amd\nkata: {reference: a}\n", "PVB732", "without `guest-components`"),
        ("guest-components: {reference: a}\n", "PVB732", "needs `tee`"),
        ("components: {A_b: {selftest: true}}\n", "PVB730", "`A_b` cannot be"),
        (f"components: {{a: {{{OK}}}}}\n", "PVB733", "has no source"),
        (f"components: {{a: {{path: x, url: 'https://x/y', {OK}}}}}\n", "PVB733", "has 2 sources"),
        (f"components: {{a: {{image: 'x.example/y:1', {OK}}}}}\n", "PVB733", "needs `file`"),
        (f"components: {{a: {{path: x, sha256: abc, {OK}}}}}\n", "PVB734", "64 hex digits"),
        (f"components: {{a: {{path: ../x, {OK}}}}}\n", "PVB735", "leads out"),
        (f"components: {{a: {{path: /x, {OK}}}}}\n", "PVB735", "leads out"),
        ("components: {a: {path: x}}\n", "PVB736", "nothing says"),
        ("components: {a: {path: x, unverified: {reason: ' '}}}\n", "PVB736", "empty"),
        (f"components: {{a: {{path: x, {OK}, verify: {{repository: a/b}}}}}}\n", "PVB736", "exclude"),
        ("components: {a: {path: x, verify: {}}}\n", "PVB736", "no repository"),
        ("components: {a: {path: x, verify: {repository: a/b, commit: abc}}}\n", "PVB736", "whole commit"),
        ("components: {a: {path: x, verify: {repository: a/b, workflow: x.yml}}}\n", "PVB736", "workflow's path"),
        ("components: {a: {path: x, verify: {repository: a/b, bundle: ../b}}}\n", "PVB735", "leads out"),
        (f"components: {{a: {{path: x, install: bin/x, {OK}}}}}\n", "PVB737", "no place"),
        (f"components: {{a: {{path: x, install: /usr/../etc/x, {OK}}}}}\n", "PVB737", "no place"),
        (
            f"components: {{a: {{path: x, {OK}}}, b: {{path: x, install: /usr/local/bin/a, {OK}}}}}\n",
            "PVB738",
            "`a` and `b` both become `/usr/local/bin/a`",
        ),
        (f"components: {{kata-agent: {{selftest: true, {OK}}}}}\n", "PVB733", "nothing about a stand-in"),
        ("components: {kata-agent: {selftest: true, file: x}}\n", "PVB733", "nothing about a stand-in"),
        ("kata: {reference: a, tag: b}\n", "PVB103", "unknown key `tag` in `kata`"),
        ("components: {a: {paht: x}}\n", "PVB103", "unknown key `paht` in `components.a`"),
        ("kata: {}\n", "PVB105", "`reference` is missing in `kata`"),
    ],
)
def test_what_a_set_cannot_say(body: str, code: str, words: str) -> None:
    found = errors(f"schema: 1\n{body}")
    assert code in [one[0] for one in found]
    assert words in next(message for one, message, _ in found if one == code)


def test_a_near_key_is_suggested() -> None:
    with pytest.raises(InputErrors) as caught:
        parse_set("schema: 1\ncomponents: {a: {paht: x}}\n", file="set.yaml")
    place = caught.value.errors[0].place
    assert place is not None and place.note == "did you mean `path`?"


def test_the_schema_takes_what_the_reader_takes() -> None:
    validator = jsonschema.Draft202012Validator(set_schema())
    validator.validate(yaml.safe_load(SET))
    assert not validator.is_valid(yaml.safe_load(SET.replace("tee: amd", "tee: snp")))
    assert not validator.is_valid(yaml.safe_load(SET.replace("reference:", "tag:")))


def test_the_set_of_the_documentation_is_one() -> None:
    page = PROJECT / "docs" / "components.md"
    if not page.is_file():
        pytest.skip("the documents are not with the tests")
    text = page.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    assert len(parse_set(text, file="set.yaml").components) == 7
