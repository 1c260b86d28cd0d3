"""Values of several images under one name: what is joined, what is refused, what goes when an image goes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import Finding
from podvm_builder.refvalues.merge import ABSENT, combine, plan_push, plan_retire, same

scalars = st.text(max_size=3) | st.integers(0, 3) | st.booleans()
lists = st.lists(scalars, max_size=5)
list_maps = st.dictionaries(st.sampled_from("abc"), lists, max_size=3)


def after(changes: tuple[Any, ...]) -> dict[str, Any]:
    return {change.name: change.after for change in changes if change.after is not ABSENT}


def test_lists_are_joined_in_order_and_each_value_is_there_once() -> None:
    assert combine([("one", {"m": ["a", "b"]}), ("two", {"m": ["b", "c"], "n": True})]) == {
        "m": ["a", "b", "c"],
        "n": True,
    }


def test_what_was_given_is_not_changed() -> None:
    first = {"m": ["a"]}
    combine([("one", first), ("two", {"m": ["b"]})])
    assert first == {"m": ["a"]}


@pytest.mark.parametrize(("one", "other"), [(True, False), (1, True), ("1", 1), ("a", ["a"]), (["a"], "a")])
def test_images_that_need_different_scalars_are_refused_together(one: Any, other: Any) -> None:
    with pytest.raises(Finding) as caught:
        combine([("old.json", {"x": one}), ("new.json", {"x": other})])
    assert caught.value.code == "PVB651"
    assert "`old.json`" in str(caught.value)
    assert "`new.json`" in str(caught.value)


def test_a_push_keeps_what_others_registered() -> None:
    (change,) = plan_push({"m": ["other"]}, {"m": ["ours"]})
    assert change.after == ["other", "ours"]
    assert change.added == ("ours",)
    assert change.removed == ()


@pytest.mark.parametrize(("stored", "wanted"), [(31, 32), (True, 1), ("a", ["a"]), (["a"], "a"), (None, "a")])
def test_a_push_refuses_to_replace_another_scalar_unless_it_is_told_to(stored: Any, wanted: Any) -> None:
    with pytest.raises(Finding) as caught:
        plan_push({"x": stored}, {"x": wanted})
    assert caught.value.code == "PVB651"
    assert "--replace x" in str(caught.value.hint)
    assert after(plan_push({"x": stored}, {"x": wanted}, replace=("x",))) == {"x": wanted}


@given(stored=list_maps, wanted=list_maps)
def test_pushing_twice_is_pushing_once(stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    first = plan_push(stored, wanted)
    then = {**stored, **after(first)}
    assert not any(change.is_change for change in plan_push(then, wanted))
    for name, value in stored.items():
        assert all(one in then[name] for one in value)


@given(others=list_maps, ours=list_maps)
def test_what_is_pushed_and_retired_leaves_the_others_values(others: dict[str, Any], ours: dict[str, Any]) -> None:
    pushed = {**others, **after(plan_push(others, ours))}
    rest = {**pushed, **after(plan_retire(pushed, ours, kept=others))}
    for name in ours:
        assert same(sorted_set(rest[name]), sorted_set(others.get(name, [])))


@given(stored=list_maps, gone=list_maps, kept=list_maps)
def test_retiring_never_touches_what_stays(stored: dict[str, Any], gone: dict[str, Any], kept: dict[str, Any]) -> None:
    changes = plan_retire(stored, gone, kept)
    for change in changes:
        for value in change.removed:
            assert any(same(value, one) for one in gone[change.name])
            assert not any(same(value, one) for one in kept.get(change.name, []))
    again = plan_retire({**stored, **after(changes)}, gone, kept)
    assert not any(change.is_change for change in again)


def test_a_scalar_is_not_taken_back() -> None:
    (change,) = plan_retire({"smt": True}, {"smt": True}, kept={})
    assert not change.is_change


def test_the_last_value_leaves_an_empty_list() -> None:
    (change,) = plan_retire({"m": ["a"]}, {"m": ["a"]}, kept={})
    assert change.after == []
    assert change.is_change


def test_a_name_that_is_not_registered_stays_so() -> None:
    (change,) = plan_retire({}, {"m": ["a"]}, kept={})
    assert change.after is ABSENT
    assert not change.is_change


def sorted_set(values: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        if not any(same(value, one) for one in kept):
            kept.append(value)
    return kept
