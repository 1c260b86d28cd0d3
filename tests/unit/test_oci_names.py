"""References and digests are read whole or refused: nothing is filled in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import InputError
from podvm_builder.model.oci import Reference, check_digest

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("ghcr.io/a/b:v1", "ghcr.io", "a/b", "v1", None),
        (f"ghcr.io/a/b@{DIGEST}", "ghcr.io", "a/b", None, DIGEST),
        (f"127.0.0.1:5000/a_b/c--d.e:V1.0-x_y@{DIGEST}", "127.0.0.1:5000", "a_b/c--d.e", "V1.0-x_y", DIGEST),
        ("localhost/agent:1", "localhost", "agent", "1", None),
        ("[::1]:5000/agent:1", "[::1]:5000", "agent", "1", None),
        ("GHCR.io/a:1", "ghcr.io", "a", "1", None),
    ],
)
def test_a_reference_in_full(text: str, registry: str, repository: str, tag: str | None, digest: str | None) -> None:
    reference = Reference.parse(text)
    assert reference == Reference(registry=registry, repository=repository, tag=tag, digest=digest)
    assert Reference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("busybox:1", "registry's host"),
        ("library/busybox:1", "registry's host"),
        ("ghcr.io/a/b", "neither a tag nor a digest"),
        ("ghcr.io/a/b:", "is no tag"),
        ("ghcr.io/a/b:" + "x" * 129, "is no tag"),
        ("ghcr.io/A/b:1", "is no repository"),
        ("ghcr.io/a//b:1", "is no repository"),
        ("ghcr.io/../b:1", "is no repository"),
        ("ghcr.io/" + "a" * 250 + ":1", "is no repository"),
        ("ghcr.io:99999/a:1", "is no host"),
        ("ghcr.io\n/a:1", "is no host"),
        ("user@ghcr.io/a:1", "digest"),
        ("docker://ghcr.io/a:1", "scheme"),
        (f"ghcr.io/a@{DIGEST}:1", "digest"),
        ("", "registry's host"),
    ],
)
def test_a_reference_that_is_refused(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        Reference.parse(text)
    assert caught.value.code == "PVB700"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (DIGEST[:-1], "63 hex digits"),
        (DIGEST + "0", "65 hex digits"),
        (DIGEST.upper().replace("SHA256", "sha256"), "lower case"),
        ("sha512:" + "0" * 128, "`sha512:`"),
        ("0" * 64, "does not begin"),
        ("sha256:" + "g" * 64, "not hex digits"),
    ],
)
def test_a_digest_that_is_refused(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        check_digest(text)
    assert caught.value.code == "PVB700"


@given(st.text())
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InputError:
        return
    assert Reference.parse(str(reference)) == reference
