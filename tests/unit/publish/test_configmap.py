"""The operator's ConfigMap as a file: what is not ours stays, records keep their form, twice is once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import FormatError, InputError
from podvm_builder.publish.configmap import ConfigMapStore
from podvm_builder.publish.push import apply
from podvm_builder.refvalues.merge import plan_push
from podvm_builder.refvalues.records import read_local_json
from podvm_builder.refvalues.registry import DEFAULTS, ExportOptions
from podvm_builder.refvalues.trustee import read_operator_configmap
from podvm_builder.refvalues.versions import Version

VERSIONS: list[Version] = [(0, 13), (0, 18), (0, 21)]


def push(path: Path, wanted: dict[str, Any], version: Version, options: ExportOptions = DEFAULTS) -> bool:
    store = ConfigMapStore(path, version=version, options=options)
    return apply(store, list(wanted), lambda stored: plan_push(stored, wanted)).written


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_file_is_made_and_the_second_time_nothing_changes(tmp_path: Path, version: Version) -> None:
    path = tmp_path / "values.yaml"
    options = ExportOptions(name="values", namespace="coco")
    assert push(path, {"mr_td": ["01" * 48]}, version, options)
    made = path.read_bytes()
    assert yaml.safe_load(made)["metadata"] == {"name": "values", "namespace": "coco"}
    assert read_operator_configmap(made) == {"mr_td": ["01" * 48]}
    assert not push(path, {"mr_td": ["01" * 48]}, version, options)
    assert path.read_bytes() == made


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_values_of_others_and_all_else_in_the_file_stay(tmp_path: Path, version: Version) -> None:
    path = tmp_path / "values.yaml"
    push(path, {"mr_td": ["aa"], "other": ["x"]}, version, ExportOptions(expiration="2027-01-01T00:00:00Z"))
    manifest = yaml.safe_load(path.read_bytes())
    manifest["metadata"] |= {"labels": {"app": "no"}, "annotations": {"note": "line\nline"}}
    manifest["data"]["more"] = "text"
    path.write_text(yaml.safe_dump(manifest), encoding="utf-8")
    assert push(path, {"mr_td": ["bb"]}, version)
    after = yaml.safe_load(path.read_bytes())
    assert after["metadata"] == manifest["metadata"]
    assert after["data"]["more"] == "text"
    assert read_operator_configmap(path.read_bytes()) == {"mr_td": ["aa", "bb"], "other": ["x"]}
    assert "2027-01-01" in json.dumps(_records(after)["other"])
    assert "2099-12-31" in json.dumps(_records(after)["mr_td"])


def _records(manifest: dict[str, Any]) -> dict[str, Any]:
    import base64

    data = manifest["data"]
    if "reference_value" in data:
        stored = json.loads(data["reference_value"])
        return {name: json.loads(base64.urlsafe_b64decode(text)) for name, text in stored.items()}
    return {one["name"]: one for one in json.loads(data["reference-values.json"])}


def test_the_form_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    push(path, {"mr_td": ["aa"]}, (0, 18))
    before = path.read_bytes()
    with pytest.raises(FormatError, match=r"no `reference_value`, which Trustee 0\.21 reads") as caught:
        push(path, {"mr_td": ["bb"]}, (0, 21))
    assert caught.value.code == "PVB607"
    assert caught.value.place is not None
    assert caught.value.place.file == str(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["n" * 300, "folder/absent", ""])
def test_a_place_where_no_file_can_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        push(tmp_path / name, {"a": ["b"]}, (0, 21))
    assert caught.value.code in {"PVB320", "PVB324"}


@pytest.mark.parametrize("content", ["", "a: [", "kind: Secret", "[]"])
def test_a_file_that_is_no_such_manifest_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FormatError):
        push(path, {"a": ["b"]}, (0, 21))
    assert path.read_text(encoding="utf-8") == content


texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)


@given(values=st.dictionaries(texts, st.lists(texts, max_size=3) | st.booleans() | st.integers(-5, 5), max_size=4))
def test_any_values_are_read_back(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("any") / "values.yaml"
    push(path, values, (0, 21))
    if values:
        assert read_local_json(yaml.safe_load(path.read_bytes())["data"]["reference_value"].encode()) == values


@pytest.mark.parametrize("key", ["name", "namespace"])
def test_a_file_of_another_configmap_is_not_taken_for_the_one_that_was_named(tmp_path: Path, key: str) -> None:
    path = tmp_path / "values.yaml"
    push(path, {"mr_td": ["01" * 48]}, (0, 21), ExportOptions(name="values", namespace="coco"))
    before = path.read_bytes()
    ours = {"name": "values", "namespace": "coco"}
    store = ConfigMapStore(path, version=(0, 21), options=DEFAULTS, metadata=ours)
    assert store.read(["mr_td"]) == {"mr_td": ["01" * 48]}
    store = ConfigMapStore(path, version=(0, 21), options=DEFAULTS, metadata={**ours, key: "other"})
    with pytest.raises(InputError) as caught:
        store.write({"mr_td": ["02" * 48]})
    assert caught.value.code == "PVB605"
    assert path.read_bytes() == before


@pytest.mark.parametrize("line", ["kind: ConfigMap", "data: {}", "data:\n  reference_value: '{}'"])
def test_a_manifest_with_a_name_twice_is_not_written_again(tmp_path: Path, line: str) -> None:
    path = tmp_path / "values.yaml"
    push(path, {"mr_td": ["01" * 48]}, (0, 21))
    path.write_text(f"{line}\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(FormatError) as caught:
        push(path, {"mr_td": ["02" * 48]}, (0, 21))
    assert caught.value.code == "PVB607"
    assert "stands twice" in caught.value.message
    assert path.read_bytes() == before
