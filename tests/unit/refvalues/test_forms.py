"""Every form is read back as Trustee reads it, and gives the values of the measurements."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import FormatError, InputError
from podvm_builder.model.refvalue import ReferenceValue, ReferenceValues
from podvm_builder.refvalues import EXPORTERS, READERS, ExportOptions, export, export_all, flat_map, reference_values
from podvm_builder.refvalues.readers import read_any
from tests.support.measurement_sets import snp_set, tdx_set, vtpm_set

SETS = [snp_set(), tdx_set(), vtpm_set("az-snp-vtpm"), vtpm_set("az-tdx-vtpm"), vtpm_set("tpm")]

names = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=30)
texts = st.text(st.characters(min_codepoint=32, max_codepoint=0x10FFFF, exclude_categories=("Cs",)), max_size=40)
values = st.builds(
    lambda pairs: ReferenceValues(
        target="t",
        evidence="snp",
        values=tuple(ReferenceValue(name=n, value=v, register="r") for n, v in pairs.items()),
        omitted=(),
        platform=(),
        identified_by=(),
        not_compared=(),
        cautions=(),
    ),
    st.dictionaries(names, texts | st.lists(texts, max_size=4).map(tuple), max_size=4),
)


def test_every_form_has_a_reader() -> None:
    assert EXPORTERS.keys() == READERS.keys()


@pytest.mark.parametrize("form", EXPORTERS)
@given(values=values)
def test_what_is_written_is_read_back(form: str, values: ReferenceValues) -> None:
    document = export(values, form)
    assert READERS[form](document) == flat_map(values)
    assert read_any(document) == (form, flat_map(values))


@pytest.mark.parametrize("form", READERS)
@given(data=st.binary(max_size=200))
def test_any_bytes_give_values_or_a_format_error(form: str, data: bytes) -> None:
    try:
        READERS[form](data)
    except FormatError as error:
        assert error.code == "PVB607"


@pytest.mark.parametrize("form", EXPORTERS)
@pytest.mark.parametrize("measurements", SETS, ids=lambda one: one.evidence)
def test_the_values_reached_are_those_of_the_measurements(form: str, measurements) -> None:  # type: ignore[no-untyped-def]
    values = reference_values(measurements)
    digests = {row.value.hex() for row in measurements.measurements if row.value is not None}
    for value in READERS[form](export(values, form)).values():
        assert isinstance(value, list)
        assert set(value) <= digests


def test_the_message_is_the_one_of_rvps() -> None:
    message = json.loads(export(reference_values(snp_set()), "rvps-message"))
    assert list(message) == ["version", "type", "payload"]
    assert (message["version"], message["type"]) == ("0.1.0", "sample")
    payload = base64.b64decode(message["payload"], validate=True)
    assert payload == json.dumps({"snp_launch_measurement": ["0a" * 48, "0b" * 48]}, separators=(",", ":")).encode()


def test_the_configmap_holds_records_that_trustee_stores() -> None:
    options = ExportOptions(expiration="2027-11-23T07:37:52Z", name="no", namespace="coco")
    manifest = yaml.safe_load(export(reference_values(tdx_set()), "operator-configmap", options))
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
    manifest = yaml.safe_load(export(reference_values(measurements), "operator-configmap"))
    for text in json.loads(manifest["data"]["reference_value"]).values():
        assert base64.b64decode(text, validate=True) == base64.urlsafe_b64decode(text)
        assert len(text) % 4 == 0


def test_all_forms_at_once_by_file_name() -> None:
    values = reference_values(snp_set())
    assert export_all(values) == {file: export(values, form) for form, (file, _) in EXPORTERS.items()}


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        export(reference_values(snp_set()), "corim")
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
    assert READERS["operator-configmap"](_stored(RECORD)) == {"svn": 1}


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
        READERS[form](data)
    assert caught.value.code == "PVB607"


def test_a_document_beyond_the_limit_is_refused() -> None:
    with pytest.raises(FormatError, match="larger than"):
        READERS["rvps-sample"](b" " * ((8 << 20) + 1))
