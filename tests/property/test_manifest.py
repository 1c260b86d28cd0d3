"""``manifest.json``: what is written is read back, and anything else is a value or a FormatError."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import FormatError
from podvm_builder.formats.manifest import SCHEMA, manifest_from_json, manifest_to_json
from podvm_builder.measure.vmm import VMMS
from podvm_builder.model.manifest import VERIFICATIONS, ComponentRecord, FileRecord, ImageManifest, PackageRecord
from podvm_builder.model.plan import BOOT_PATHS, PLATFORM_VMMS, SECURE_BOOT, EvidencePlan, Ids, PlatformPlan
from tests.support.facts import facts
from tests.support.manifests import QEMU, build, evidence

texts = st.text(max_size=20)
tuples = st.lists(texts, max_size=3).map(tuple)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
naturals = st.integers(min_value=0, max_value=2**53 - 1)

manifests = st.builds(
    ImageManifest,
    target=texts,
    profile=texts,
    ids=st.builds(Ids, rootfs=digests, image=digests, plan=digests),
    flags=tuples,
    root_hash=digests,
    root_format=texts,
    recipe=digests,
    phases=tuples,
    platform=st.builds(
        PlatformPlan,
        vmm=st.sampled_from((*PLATFORM_VMMS, "ec2@2")),
        firmware=texts,
        boot=st.lists(st.sampled_from(BOOT_PATHS), max_size=2).map(tuple),
        vcpus=st.lists(naturals, max_size=3).map(tuple),
        cpus=tuples,
        guest_features=st.lists(st.integers(min_value=0, max_value=2**64 - 1), max_size=3).map(tuple),
        secure_boot=st.sampled_from(SECURE_BOOT),
    ),
    evidence=st.builds(
        EvidencePlan,
        kind=texts,
        promised=tuples,
        identifies=st.booleans(),
        by=tuples,
        reason=texts,
        source=texts,
    ),
    trust=facts,
    source_date_epoch=naturals,
    tools=st.dictionaries(texts, texts, max_size=3),
    files=st.dictionaries(texts, st.builds(FileRecord, size=naturals, sha256=digests), max_size=3),
    packages=st.lists(st.builds(PackageRecord, name=texts, version=texts, arch=texts), max_size=3).map(tuple),
    components=st.lists(
        st.builds(
            ComponentRecord,
            name=texts,
            path=texts,
            sha256=digests,
            source=texts,
            digest=texts,
            licence=texts,
            verification=st.sampled_from(VERIFICATIONS),
            note=texts,
        ),
        max_size=3,
    ).map(tuple),
)


@given(manifests)
def test_what_is_written_is_read_back(manifest: ImageManifest) -> None:
    assert manifest_from_json(json.loads(json.dumps(manifest_to_json(manifest)))) == manifest


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(manifests, st.data())
def test_any_value_in_any_place_is_read_or_refused(manifest: ImageManifest, data: st.DataObject) -> None:
    document = manifest_to_json(manifest)
    key = data.draw(st.sampled_from(sorted(document)))
    document[key] = data.draw(json_values)
    try:
        read = manifest_from_json(json.loads(json.dumps(document)))
    except FormatError:
        return
    assert manifest_from_json(json.loads(json.dumps(manifest_to_json(read)))) == read


@given(json_values)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(FormatError) as caught:
        manifest_from_json(value)
    assert caught.value.code == "PVB203"


@given(manifests, st.data())
def test_a_missing_key_is_named(manifest: ImageManifest, data: st.DataObject) -> None:
    document = manifest_to_json(manifest)
    key = data.draw(st.sampled_from(sorted(set(document) - {"schema", "trust", "suppressions"})))
    del document[key]
    with pytest.raises(FormatError, match=f"`{key}` is missing"):
        manifest_from_json(document)


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("secure_boot", "zz", "platform.secure_boot"),
        ("boot", ["disk", "zz"], "platform.boot[1]"),
        ("vmm", "zz@qemu", "platform.vmm"),
    ],
)
def test_a_platform_that_is_none_is_refused(key: str, value: object, place: str) -> None:
    manifest, _, _ = build("debian-13/none/libvirt", QEMU, evidence("tpm"))
    document = manifest_to_json(manifest)
    document["platform"][key] = value
    with pytest.raises(FormatError) as caught:
        manifest_from_json(document)
    assert (f"`{place}` is `zz" in caught.value.message, caught.value.code) == (True, "PVB203")


def test_the_vmms_of_platforms_are_those_that_measure_and_the_paravisor_s() -> None:
    assert {vmm.name for vmm in VMMS} | {"hyperv"} == set(PLATFORM_VMMS)


def test_another_schema_is_refused() -> None:
    with pytest.raises(FormatError, match=SCHEMA):
        manifest_from_json({"schema": "podvm-manifest/2"})


def test_a_manifest_of_an_earlier_release_says_less_of_its_components() -> None:
    manifest, _, _ = build("debian-13/none/libvirt", QEMU, evidence("none"))
    document = manifest_to_json(manifest)
    document["components"] = [{"name": "a", "path": "/a", "sha256": "ab" * 32, "source": "selftest"}]
    (found,) = manifest_from_json(json.loads(json.dumps(document))).components
    assert (found.digest, found.verification, found.note) == ("", "unverified", "")
