"""Every form is read back as Trustee reads it, and gives the values of the measurements."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import Finding, FormatError, InputError
from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.refvalues import FORMATS, ExportOptions, export, export_all, flat_map, read_any
from podvm_builder.refvalues import records as rec
from podvm_builder.refvalues.formats import read_folder
from podvm_builder.refvalues.registry import FlatMap, Format
from podvm_builder.refvalues.versions import VERSIONS, Version, show
from tests.support.measurement_sets import measurement_set, predicted, request, snp_set, tdx_set, vtpm_set

SETS = [snp_set(), tdx_set(), vtpm_set("az-snp-vtpm"), vtpm_set("az-tdx-vtpm"), vtpm_set("tpm")]
POLICY_FORMS = [name for name, one in FORMATS.items() if one.asks_policy]
FILES = [name for name, one in FORMATS.items() if one.decode is not None]
TRUSTEE = ["rvps-sample", "rvps-message", "rvps-records", "local-json", "local-fs", "operator-configmap"]
"""The forms that hold exactly the flat map."""


def read(form: Format, document: bytes | Mapping[str, bytes]) -> FlatMap:
    if isinstance(document, bytes):
        assert form.decode is not None
        return form.decode(document)
    assert form.decode_files is not None
    return form.decode_files(document)


names = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=30)
texts = st.text(st.characters(min_codepoint=32, max_codepoint=0x10FFFF, exclude_categories=("Cs",)), max_size=40)
scalars = texts | st.integers(-(2**53), 2**53) | st.booleans()
maps = st.dictionaries(names, scalars | st.lists(scalars, max_size=4), max_size=4)


@given(values=maps, version=st.sampled_from([one for one in VERSIONS if one >= rec.TYPED_SINCE]))
def test_records_are_read_back(values: FlatMap, version: Version) -> None:
    stored = [
        rec.record(name, value, expiration="2027-01-01T00:00:00Z", version=version) for name, value in values.items()
    ]
    assert rec.read_array(rec.dump(stored), "records") == values


@given(values=st.dictionaries(names, st.lists(texts, max_size=4), max_size=4))
def test_records_of_hashes_are_read_back(values: FlatMap) -> None:
    stored = [
        rec.record(name, value, expiration="2027-01-01T00:00:00Z", version=(0, 12)) for name, value in values.items()
    ]
    assert rec.read_array(rec.dump(stored), "records") == values


@pytest.mark.parametrize("version", VERSIONS, ids=show)
@pytest.mark.parametrize("name", POLICY_FORMS)
@pytest.mark.parametrize("measurements", SETS, ids=lambda one: one.evidence)
def test_every_form_of_every_version_is_read_back(name: str, version: Version, measurements: MeasurementSet) -> None:
    """The matrix: a form or an evidence type that a version does not read is refused, never guessed."""
    asked = request(measurements, trustee=show(version))
    form = FORMATS[name]
    try:
        document = export(asked, name)
    except InputError as error:
        assert error.code == "PVB603"
        old = {"snp": (0, 12), "tdx": (0, 12), "tpm": (0, 16)}.get(measurements.evidence, (0, 20))
        assert version < max(old, form.since)
        return
    values = read(form, document)
    if isinstance(document, bytes):
        assert read_any(document)[1] == values
        assert read_any(document)[0] in {name, *SAME.get(name, ())}
    else:
        assert read_folder(document) == (name, values)
    if name in TRUSTEE:
        assert values == flat_map(asked.values())


SAME = {"local-json": ("rvps-records",), "rvps-records": ("local-json",)}
"""Up to 0.18 the file of ``LocalJson`` is the array of records."""


@pytest.mark.parametrize("form", FILES)
@given(data=st.binary(max_size=200))
def test_any_bytes_give_values_or_a_format_error(form: str, data: bytes) -> None:
    try:
        read(FORMATS[form], data)
    except FormatError as error:
        assert error.code == "PVB607"


@pytest.mark.parametrize("form", POLICY_FORMS)
@pytest.mark.parametrize("measurements", SETS, ids=lambda one: one.evidence)
def test_the_values_reached_are_those_of_the_measurements(form: str, measurements: MeasurementSet) -> None:
    digests = {row.value.hex() for row in measurements.measurements if row.value is not None}
    values = read(FORMATS[form], export(request(measurements), form))
    assert values
    for value in values.values():
        assert set(value if isinstance(value, list) else [value]) <= digests


def test_the_message_is_the_one_of_rvps() -> None:
    message = json.loads(export(request(snp_set()), "rvps-message"))
    assert list(message) == ["version", "type", "payload"]
    assert (message["version"], message["type"]) == ("0.1.0", "sample")
    payload = base64.b64decode(message["payload"], validate=True)
    assert payload == json.dumps({"snp_launch_measurement": ["0a" * 48, "0b" * 48]}, separators=(",", ":")).encode()


def test_the_configmap_holds_records_that_trustee_stores() -> None:
    options = ExportOptions(expiration="2027-11-23T07:37:52Z", name="no", namespace="coco")
    manifest = yaml.safe_load(export(request(tdx_set(), options=options), "operator-configmap"))
    assert manifest["metadata"] == {"name": "no", "namespace": "coco"}
    stored = json.loads(manifest["data"]["reference_value"])
    assert json.loads(base64.urlsafe_b64decode(stored["mr_td"])) == {
        "version": "0.1.0",
        "name": "mr_td",
        "expiration": "2027-11-23T07:37:52Z",
        "value": ["01" * 48],
    }


@pytest.mark.parametrize("measurements", SETS, ids=lambda one: one.evidence)
def test_records_are_the_same_in_both_base64_alphabets(measurements) -> None:  # type: ignore[no-untyped-def]
    manifest = yaml.safe_load(export(request(measurements), "operator-configmap"))
    for text in json.loads(manifest["data"]["reference_value"]).values():
        assert base64.b64decode(text, validate=True) == base64.urlsafe_b64decode(text)
        assert len(text) % 4 == 0


def test_all_forms_at_once_by_file_name() -> None:
    asked = request(snp_set())
    written = {one.file: export(asked, name) for name, one in FORMATS.items() if one.in_build}
    assert export_all(asked) == written
    assert {"rvps-sample.json", "rvps-message.json", "operator-configmap.yaml", "attestation-policy.rego"} == set(
        written
    )


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        export(request(snp_set()), "no-such-form")
    assert caught.value.code == "PVB606"


@pytest.mark.parametrize(
    "change",
    [
        {"expiration": "2027-11-23"},
        {"expiration": "2027-1-2T03:04:05Z"},
        {"expiration": "2027-11-23T07:37:52+00:00"},
        {"expiration": "2027-02-30T00:00:00Z"},
        {"name": "Upper"},
        {"name": "a" * 254},
        {"name": "a\nb"},
        {"name": "-a"},
        {"namespace": "a.b"},
        {"namespace": ""},
        {"uri_path": "a:b"},
        {"uri_path": "a/../b"},
        {"uri_path": "/a"},
        {"uri_tag": "a/b"},
    ],
    ids=str,
)
def test_options_that_a_reader_would_refuse_are_refused_here(change: dict[str, str]) -> None:
    with pytest.raises(InputError) as caught:
        replace(ExportOptions(), **change)
    assert caught.value.code == "PVB605"


def _configmap(**data: object) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "data": data}).encode()


def _stored(record: object) -> bytes:
    return _configmap(reference_value=json.dumps({"svn": base64.b64encode(json.dumps(record).encode()).decode()}))


RECORD = {"name": "svn", "expiration": "2027-01-01T00:00:00Z", "value": 1}


def test_a_record_without_a_version_is_read_as_trustee_reads_it() -> None:
    assert read(FORMATS["operator-configmap"], _stored(RECORD)) == {"svn": 1}


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("rvps-sample", b"[]"),
        ("rvps-sample", b"{"),
        ("rvps-message", b'{"type":"sample"}'),
        ("rvps-message", b'{"type":"swid","payload":"e30="}'),
        ("rvps-message", b'{"version":"0.2.0","type":"sample","payload":"e30="}'),
        ("rvps-message", b'{"type":"sample","payload":"e30"}'),
        ("rvps-message", b'{"type":"sample","payload":"W10="}'),
        ("operator-configmap", b"a: [1"),
        ("operator-configmap", b"{}"),
        ("operator-configmap", _configmap()),
        ("operator-configmap", _configmap(reference_value={"svn": RECORD})),
        ("operator-configmap", _configmap(reference_value=json.dumps({"svn": RECORD}))),
        ("operator-configmap", _stored({**RECORD, "name": "other"})),
        ("operator-configmap", _stored({**RECORD, "version": "0.2.0"})),
        ("operator-configmap", _stored({**RECORD, "expiration": "2027-01-01"})),
        ("operator-configmap", _stored({"name": "svn", "expiration": "2027-01-01T00:00:00Z"})),
    ],
)
def test_what_trustee_does_not_read_is_not_read_here(form: str, data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        read(FORMATS[form], data)
    assert caught.value.code == "PVB607"


def test_a_document_beyond_the_limit_is_refused() -> None:
    with pytest.raises(FormatError, match="larger than"):
        read(FORMATS["rvps-sample"], b" " * ((8 << 20) + 1))


def test_two_images_do_not_share_the_name_of_a_uri() -> None:
    one, other = (predicted("tpm.pcr11", value * 32, alg="sha256", boot="disk") for value in (b"\x01", b"\x02"))
    both = measurement_set("tpm", one, other, by=("tpm.pcr11",))
    with pytest.raises(Finding) as caught:
        export(request(both), "rvps-uri")
    assert caught.value.code == "PVB609"


@pytest.mark.parametrize("image", ["z\n../..", "a/b", "a:b", "-"])
def test_an_identity_that_is_no_tag_is_not_written_into_a_name(image: str) -> None:
    with pytest.raises(InputError) as caught:
        export(request(replace(snp_set(), ids={"image": image})), "rvps-uri")
    assert caught.value.code == "PVB605"
