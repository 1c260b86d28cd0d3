"""Laws of reading, merging and identifying, over generated input."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.catalog.load import catalogue
from podvm_builder.catalog.settings import Edit, Fragment, Op
from podvm_builder.catalog.yaml_nodes import plain
from podvm_builder.catalog.yaml_source import read_yaml
from podvm_builder.errors import InputError, Place
from podvm_builder.model.axes import Target
from podvm_builder.planning.make import make_plan
from podvm_builder.planning.merge import merge
from podvm_builder.planning.profile import parse_profile
from podvm_builder.planning.support import every_target, why_not

KNOWN = catalogue()
LIBVIRT = Target.parse("debian-13/snp/libvirt")
HERE = Place(file="f", line=1)

keys = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=8)
scalars = st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(max_size=12)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=20
)


@given(documents)
def test_what_is_written_as_json_is_read_back(value: Any) -> None:
    # JSON text is YAML, but for the escapes of surrogate pairs
    document = read_yaml(json.dumps(value, ensure_ascii=True) if _bmp(value) else "null", file="f")
    assert plain(document.root) == (value if _bmp(value) else None)
    assert document.errors == ()


def _bmp(value: Any) -> bool:
    return all(ord(c) < 0x10000 for c in json.dumps(value, ensure_ascii=False))


@given(documents)
def test_what_pyyaml_writes_is_read_back(value: Any) -> None:
    document = read_yaml(yaml.safe_dump(value, allow_unicode=True, default_flow_style=None), file="f")
    assert document.errors == ()
    assert plain(document.root) == value


yamlish = st.text(alphabet="ab01 \n\t:-,[]{}&*!|>'\"#%@?.~<=no\x00\x85é😀", max_size=80)


@given(yamlish | st.text(max_size=40))
def test_any_text_is_a_document_or_an_input_error(text: str) -> None:
    for trusted in (False, True):
        try:
            read_yaml(text, file="f", trusted=trusted)
        except InputError as error:
            assert error.place is not None


@given(
    st.dictionaries(
        st.sampled_from(["schema", "name", "tee", "kernel", "platform", "units", "exclude", "x"]), documents
    )
)
def test_any_document_is_a_profile_or_input_errors_with_places(value: dict[str, Any]) -> None:
    text = yaml.safe_dump({"distro": "debian-13", "cloud": "libvirt", **value}, allow_unicode=True)
    try:
        parse_profile(text, file="f")
    except InputError as error:
        assert error.place is not None
        assert error.place.line is not None


items = st.sampled_from(["a", "b", "c", "d"])


def fragment(*edits: tuple[Op, Any]) -> Fragment:
    return Fragment(layer="x", edits=tuple(Edit(key="packages", op=op, value=value, place=HERE) for op, value in edits))


DEFAULTS = Fragment(layer="default", edits=KNOWN.defaults)


@given(st.lists(items), st.lists(items))
def test_appending_is_idempotent_and_keeps_the_order(start: list[str], more: list[str]) -> None:
    begin = (Op.SET, tuple(start))
    once = merge([DEFAULTS, fragment(begin, *((Op.APPEND, item) for item in more))]).words("packages")
    twice = merge([DEFAULTS, fragment(begin, *((Op.APPEND, item) for item in more + more))]).words("packages")
    assert once == twice == tuple(dict.fromkeys(start + more))


@given(st.lists(items, unique=True), items)
def test_removing_undoes_appending(start: list[str], item: str) -> None:
    found = merge([DEFAULTS, fragment((Op.SET, tuple(start)), (Op.APPEND, item), (Op.REMOVE, item))]).words("packages")
    assert found == tuple(one for one in start if one != item)


@given(st.lists(items), st.lists(items))
def test_what_is_set_forgets_what_was(before: list[str], after: list[str]) -> None:
    first = merge([DEFAULTS, fragment((Op.SET, tuple(before)), (Op.SET, tuple(after)))])
    assert first.words("packages") == tuple(dict.fromkeys(after))


words = st.lists(st.text("abcxyz=.", min_size=1, max_size=6).filter(lambda word: word.strip(".=")), max_size=4)


@given(words)
def test_the_command_line_changes_the_image_and_not_the_root(added: list[str]) -> None:
    before = make_plan(LIBVIRT, KNOWN, components_digest="")
    after = make_plan(LIBVIRT, KNOWN, [f"kernel.cmdline+={json.dumps(added)}"], components_digest="")
    assert after.ids.rootfs == before.ids.rootfs
    assert (after.ids.image != before.ids.image) == (after.kernel.cmdline != before.kernel.cmdline)


@given(st.lists(st.integers(1, 512), min_size=1, max_size=5), st.sampled_from(["absent", "off", "on"]))
def test_the_platform_changes_the_plan_alone(vcpus: list[int], secure_boot: str) -> None:
    sets = [f"platform.vcpus={vcpus}", f'platform.secure_boot="{secure_boot}"']
    before = make_plan(LIBVIRT, KNOWN, components_digest="")
    after = make_plan(LIBVIRT, KNOWN, sets, components_digest="")
    assert after.ids.image == before.ids.image
    assert (after.ids.plan != before.ids.plan) == (after.platform != before.platform)


@given(st.sampled_from([t for t in every_target(KNOWN) if why_not(t, KNOWN) is None]), st.booleans())
def test_the_same_input_gives_equal_plans(one_of_all: Target, debug: bool) -> None:
    target = replace(one_of_all, variant="debug" if debug else "production")
    one, other = (make_plan(target, KNOWN, ["packages+=vim"], components_digest="d") for _ in range(2))
    assert one == other
    assert Target.parse(str(target)) == target
