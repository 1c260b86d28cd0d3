"""The strict YAML reader: what it reads, what it refuses, and where it says that the mistake is."""

from __future__ import annotations

import tracemalloc

import pytest

from podvm_builder.catalog.yaml_nodes import MapNode, plain
from podvm_builder.catalog.yaml_source import MAX_ALIASES, MAX_CHARS, MAX_DEPTH, read_yaml
from podvm_builder.errors import InputError


@pytest.mark.parametrize("trusted", [False, True], ids=["pure", "libyaml"])
def test_values_follow_the_core_schema_of_yaml_1_2(trusted: bool) -> None:
    text = 'a: 1\nb: [x, "1", true, False, null, ~, -3, 0x1F, 1.5]\nc: {d: e f, g: &h [1], i: *h}\n'
    document = read_yaml(text, file="f", trusted=trusted)
    assert plain(document.root) == {
        "a": 1,
        "b": ["x", "1", True, False, None, None, -3, 31, 1.5],
        "c": {"d": "e f", "g": [1], "i": [1]},
    }
    assert document.errors == ()


@pytest.mark.parametrize("value", ["9" * 19, "-" + "9" * 40, "9" * 5000, "0x" + "f" * 17])
def test_numbers_beyond_any_setting_stay_text(value: str) -> None:
    assert plain(read_yaml(f"a: {value}", file="f").root) == {"a": value}


def test_places_are_lines_and_columns() -> None:
    document = read_yaml("a: 1\nb:\n  - über\n  - c: déjà\n", file="f")
    assert isinstance(document.root, MapNode)
    items = document.root.nodes("b")
    place = document.place(items[0].spot)
    assert (place.line, place.column, place.length, place.text) == (3, 5, 4, "  - über")
    assert isinstance(items[1], MapNode)
    value = items[1].get("c")
    assert value is not None
    assert (value.spot.line, value.spot.column) == (4, 8)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("no", "truth value"),
        ("Yes", "truth value"),
        ("ON", "truth value"),
        ("off", "truth value"),
        ("y", "truth value"),
        ("0777", "octal"),
        ("010", "octal"),
        ("0o17", "octal"),
        ("0b11", "binary"),
        ("12:30", "base-60"),
        ("1:2:3.5", "base-60"),
        ("1_000", "number"),
        ("0xff_ff", "number"),
        ("2025-01-01", "date"),
        ("2025-01-01T00:00:00Z", "date"),
        ("=", "default value"),
    ],
)
@pytest.mark.parametrize("trusted", [False, True], ids=["pure", "libyaml"])
def test_values_that_yaml_versions_read_differently_are_found(value: str, what: str, trusted: bool) -> None:
    document = read_yaml(f"a:\n  b: {value}\n", file="f", trusted=trusted)
    (error,) = document.errors
    assert error.code == "PVB108"
    assert what in error.message
    assert error.place is not None
    assert (error.place.line, error.place.column, error.place.length) == (2, 6, len(value))


@pytest.mark.parametrize("value", ['"no"', "'12:30'", "nob", "1.2.3", "e2_f", "12:30 h", "v0777", "- no way"])
def test_text_that_is_read_alike_everywhere_is_no_surprise(value: str) -> None:
    assert read_yaml(value, file="f").errors == ()


def test_duplicate_keys_are_all_found() -> None:
    document = read_yaml("a: 1\nb: {c: 1, c: 2}\na: 2\n", file="f")
    assert [(e.code, e.place.line, e.place.column) for e in document.errors if e.place] == [
        ("PVB107", 2, 11),
        ("PVB107", 3, 1),
    ]
    assert plain(document.root) == {"a": 1, "b": {"c": 1}}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: [1", "PVB106"),
        ("a: 'x", "PVB106"),
        ("\ta: 1", "PVB106"),
        ("a: b: c", "PVB106"),
        ("a: \x07", "PVB106"),
        ("- a\nb: c", "PVB106"),
        ("a: !!str x", "PVB110"),
        ("a: !include f", "PVB110"),
        ("!!python/object/apply:os.system [id]", "PVB110"),
        ("a: &x {b: 1}\nc: {<<: *x}", "PVB110"),
        ("? [a]\n: b", "PVB110"),
        ("a: *x", "PVB110"),
        ("a: &x [*x]", "PVB110"),
        ("a: 1\n---\nb: 2", "PVB110"),
        ("[" * (MAX_DEPTH + 1), "PVB109"),
        ("x" * (MAX_CHARS + 1), "PVB109"),
        ("a: &x 1\nb: [" + "*x, " * (MAX_ALIASES + 1) + "]", "PVB109"),
    ],
)
@pytest.mark.parametrize("trusted", [False, True], ids=["pure", "libyaml"])
def test_what_is_not_read(text: str, code: str, trusted: bool) -> None:
    with pytest.raises(InputError) as caught:
        read_yaml(text, file="f", trusted=trusted)
    assert caught.value.code == code
    assert caught.value.place is not None


def test_an_unprintable_character_is_named_and_not_shown() -> None:
    with pytest.raises(InputError, match=r"U\+001B") as caught:
        read_yaml("a: 1\nb: x\x1b[2Jy\n", file="f")
    place = caught.value.place
    assert place is not None
    assert (place.line, place.column, place.text) == (2, 5, None)


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 7)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize("text", [bomb(8), bomb(60), "a: &a [x]\n" + "b: [*a, *a]\n" * 900_000])
def test_alias_bombs_cost_no_memory(text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            read_yaml(text, file="f")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code == "PVB109"
    assert peak < 4 << 20


def test_nothing_is_an_empty_value() -> None:
    assert plain(read_yaml("", file="f").root) is None
    assert plain(read_yaml("# only a comment\n", file="f").root) is None
