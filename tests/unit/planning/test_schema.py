"""The JSON Schema of profiles: valid, committed, and of one mind with the reader."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml

from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import InputErrors
from podvm_builder.planning.profile import parse_profile
from podvm_builder.planning.schema import profile_schema
from tests.conftest import PROJECT

SCHEMA = profile_schema(catalogue())
HEAD = "schema: 1\ndistro: debian-13\ntee: snp\ncloud: libvirt\n"


def test_it_is_the_committed_one() -> None:
    committed = PROJECT / "schemas" / "profile.schema.json"
    if not committed.is_file():
        pytest.skip("the schema is not with the tests")
    assert json.loads(committed.read_text(encoding="utf-8")) == SCHEMA, "`make docs` writes it anew"


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_key_has_words_for_its_reader() -> None:
    for name, definition in {**SCHEMA["$defs"], "profile": SCHEMA}.items():
        for key, node in definition["properties"].items():
            described = "description" in node or "$ref" in node or name == "Exclude"
            assert described, f"{name}.{key}"


def test_there_is_no_null_and_no_title_of_a_key() -> None:
    text = json.dumps(SCHEMA)
    assert '"null"' not in text
    assert text.count('"title"') == 1


VALID = [
    "",
    "name: acme",
    "arch: [x86_64]\nvariant: [production, debug]",
    "exclude: [{tee: [tdx], cloud: aws}]",
    "features: []",
    "kernel: {cmdline: {append: [a], remove: [b]}, modules: [a]}",
    "platform: {vcpus: 4, boot: [direct], guest_features: {append: [33]}, cpus: [EPYC-v4]}",
    "platform: {vcpus: [1, 2-4], secure_boot: absent}",
    "platform: {vcpus: 1-64}",
    "units: {a.service: mask}\nmeasure: {phases: true}",
]
INVALID = [
    "tee2: x",
    "tee: [nope]",
    "tee: []",
    "variant: dbug",
    "features: [fpga]",
    "kernel: {cmdline: a}",
    "kernel: {cmdline: {append: a}}",
    "platform: {vcpus: true}",
    "platform: {cpus: [nope]}",
    "platform: {boot: [net]}",
    "units: {a.service: on2}",
    "measure: {phases: 1}",
    "packages:",
    "exclude: [{x: y}]",
]


def document(text: str) -> Any:
    return yaml.safe_load(merged(text))


def merged(text: str) -> str:
    given = {line.partition(":")[0] for line in text.splitlines()}
    return "".join(f"{line}\n" for line in HEAD.splitlines() if line.partition(":")[0] not in given) + text + "\n"


@pytest.mark.parametrize("text", VALID)
def test_both_accept(text: str) -> None:
    jsonschema.validate(document(text), SCHEMA, jsonschema.Draft202012Validator)
    parse_profile(merged(text), file="f.yaml")


@pytest.mark.parametrize("text", INVALID)
def test_both_refuse(text: str) -> None:
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(document(text))
    with pytest.raises(InputErrors):
        parse_profile(merged(text), file="f.yaml")
