"""Whatever a registry answers or a configuration holds is read or refused by an error of ours."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.oci import Index, Manifest, descriptor_to_json, parse_descriptor, parse_manifest
from podvm_builder.model.oci import Descriptor, Platform
from podvm_builder.tools.oci.auth import parse_challenges
from podvm_builder.tools.oci.config import DockerConfig
from podvm_builder.tools.oci.http import origin, retry_after, shown

_DIGESTS = st.integers(0, 2**256 - 1).map(lambda number: f"sha256:{number:064x}")
_TEXTS = st.text(min_size=1, max_size=8)
_DESCRIPTORS = st.builds(
    Descriptor,
    media_type=_TEXTS,
    digest=_DIGESTS,
    size=st.integers(0, 1 << 50),
    annotations=st.dictionaries(_TEXTS, st.text(max_size=8), max_size=3),
    artifact_type=st.none() | _TEXTS,
    platform=st.none() | st.builds(Platform, os=_TEXTS, architecture=_TEXTS, variant=st.none() | _TEXTS),
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | _DESCRIPTORS.map(descriptor_to_json),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_KEYS = st.sampled_from(
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "annotations", "artifactType"]
)


@given(_DESCRIPTORS)
def test_a_descriptor_is_what_was_written(descriptor: Descriptor) -> None:
    assert parse_descriptor(json.loads(json.dumps(descriptor_to_json(descriptor)))) == descriptor


@given(st.dictionaries(_KEYS, _VALUES), st.none() | _TEXTS)
def test_any_document_is_a_manifest_or_refused(document: dict[str, Any], media_type: str | None) -> None:
    with suppress(FormatError):
        assert isinstance(
            parse_manifest(json.dumps({"schemaVersion": 2} | document).encode(), media_type), Manifest | Index
        )


@given(st.text(alphabet=st.characters(max_codepoint=0xFF)))
def test_any_header_is_read(text: str) -> None:
    for challenge in parse_challenges(text):
        assert challenge.scheme == challenge.scheme.lower()
    seconds = retry_after(text, now=0)
    assert seconds is None or seconds >= 0


@given(st.text())
def test_any_address_is_shown_without_what_is_secret(text: str) -> None:
    origin(text)
    assert shown(f"https://user:secret@host.test/path?secret#secret{text}") == "https://host.test/path"


@given(st.dictionaries(st.sampled_from(["auths", "credHelpers", "x"]), _VALUES))
def test_any_configuration_has_credentials_or_none(content: dict[str, Any]) -> None:
    with suppress(InputError):
        DockerConfig([("x", content)]).find("ghcr.io", "a/b")
