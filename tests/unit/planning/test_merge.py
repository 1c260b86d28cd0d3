"""Merging: what replaces, what edits, and what is remembered."""

from __future__ import annotations

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.catalog.settings import Edit, Fragment, Item, Op, Value
from podvm_builder.errors import InputError, Place
from podvm_builder.model.plan import Origin
from podvm_builder.planning.merge import merge

DEFAULTS = Fragment(layer="default", edits=catalogue().defaults)


def edit(key: str, op: Op, value: Value, line: int = 1) -> Edit:
    return Edit(key=key, op=op, value=value, place=Place(file="acme.yaml", line=line))


def words(*edits: Edit) -> tuple[str, ...]:
    start = edit("packages", Op.SET, ("a", "b"))
    return merge([DEFAULTS, Fragment(layer="x", edits=(start, *edits))]).words("packages")


def test_a_list_replaces() -> None:
    assert words(edit("packages", Op.SET, ("c", "c", "d"))) == ("c", "d")


def test_append_keeps_what_is_there_where_it_is() -> None:
    assert words(edit("packages", Op.APPEND, "c"), edit("packages", Op.APPEND, "a")) == ("a", "b", "c")


def test_remove_takes_an_item_out() -> None:
    assert words(edit("packages", Op.REMOVE, "a")) == ("b",)


def test_removing_what_is_not_there_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(InputError) as caught:
        words(edit("packages", Op.APPEND, "iptables"), edit("packages", Op.REMOVE, "iptable", line=7))
    error = caught.value
    assert error.code == "PVB112"
    assert error.place == Place(file="acme.yaml", line=7, note="did you mean `iptables`?")
    assert error.hint == "it holds [a, b, iptables]"


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_numbers_are_items_too(first: int, second: int) -> None:
    edits = (edit("platform.vcpus", Op.SET, (first,)), edit("platform.vcpus", Op.APPEND, second))
    merged = merge([DEFAULTS, Fragment(layer="x", edits=edits)])
    assert merged.numbers("platform.vcpus") == (first, second)


def test_states_merge_by_unit_and_disable_takes_an_entry_out() -> None:
    states: list[Value] = [
        {"a.service": "enable"},
        {"b.service": "mask"},
        {"a.service": "mask"},
        {"b.service": "disable"},
    ]
    edits = tuple(edit("units", Op.APPEND, state) for state in states)
    merged = merge([Fragment(layer="default", edits=DEFAULTS.edits), Fragment(layer="x", edits=edits)])
    assert merged.states("units")["a.service"] == "mask"
    assert "b.service" not in merged.states("units")


def test_every_change_is_remembered_in_order() -> None:
    own = Fragment(
        layer="profile acme",
        edits=(edit("kernel.cmdline", Op.SET, ("a", "b"), 3), edit("image.hostname", Op.SET, "h", 4)),
    )
    command = Fragment(
        layer="--set",
        edits=(Edit(key="kernel.cmdline", op=Op.REMOVE, value="a", place=Place(file="--set", line=1, column=4)),),
    )
    origins = merge([DEFAULTS, own, command]).origins
    assert origins["kernel.cmdline"][1:] == (
        Origin(layer="profile acme", place="acme.yaml:3", what="= [a, b]"),
        Origin(layer="--set", place="command line", what="- a"),
    )
    assert origins["image.hostname"][-1].place == "acme.yaml:4"
    assert origins["image.hostname"][0].place.startswith("catalog/defaults.yaml:")


@pytest.mark.parametrize("items", [(), ("x",)])
def test_without_defaults_there_is_no_plan(items: tuple[Item, ...]) -> None:
    with pytest.raises(ValueError, match="no layer sets"):
        merge([Fragment(layer="x", edits=(edit("packages", Op.SET, items),))])
