"""measurements.json: what is written is read back, and anything else is a FormatError."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import FormatError
from podvm_builder.formats.documents import (
    DIGEST_SIZES,
    measurements_from_json,
    measurements_to_json,
    parse_measurements,
)
from podvm_builder.model.event import Event
from podvm_builder.model.measurement import Basis, Identification, Measurement, MeasurementSet, Status
from podvm_builder.model.region import Region
from tests.support.facts import facts

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
ALGS = st.sampled_from(sorted(DIGEST_SIZES))
NATURAL = st.integers(min_value=0, max_value=2**64)


def digest(alg: str) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=DIGEST_SIZES[alg], max_size=DIGEST_SIZES[alg])


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    alg = draw(ALGS)
    status = draw(st.sampled_from(Status))
    has_value = status is Status.PREDICTED or (status is Status.PLATFORM and draw(st.booleans()))
    return Measurement(
        register=draw(TEXT),
        alg=alg,
        status=status,
        value=draw(digest(alg)) if has_value else None,
        reason=draw(st.none() | TEXT) if has_value else draw(WORDS),
        variant=draw(st.dictionaries(TEXT, TEXT | NATURAL | st.booleans(), max_size=3)),
        basis=tuple(draw(st.lists(st.builds(Basis, kind=TEXT, digest=TEXT), max_size=2))),
        origin=draw(st.none() | st.tuples(st.sampled_from(["log", "regions"]), TEXT)),
    )


@st.composite
def events(draw: st.DrawFn) -> Event:
    algs = draw(st.lists(ALGS, unique=True, max_size=3))
    return Event(
        pcr=draw(st.integers(0, 23)),
        kind=draw(TEXT),
        digests={alg: draw(digest(alg)) for alg in algs},
        subject=draw(TEXT),
        source=draw(TEXT),
        data=draw(st.binary(max_size=8)),
    )


REGIONS = st.builds(
    Region, source=TEXT, gpa=NATURAL, length=NATURAL, page_type=TEXT, digest=st.none() | st.binary(max_size=48)
)
SETS = st.builds(
    MeasurementSet,
    target=TEXT,
    ids=st.dictionaries(TEXT, TEXT, max_size=3),
    identifies_image=st.builds(
        Identification, value=st.booleans(), by=st.lists(TEXT, max_size=2).map(tuple), reason=TEXT
    ),
    logs=st.dictionaries(TEXT, st.lists(events(), max_size=3).map(tuple), max_size=2),
    regions=st.dictionaries(TEXT, st.lists(REGIONS, max_size=3).map(tuple), max_size=2),
    measurements=st.lists(measurements(), max_size=3).map(tuple),
    flags=st.lists(TEXT, max_size=2).map(tuple),
    evidence=TEXT,
    boots=st.lists(TEXT, max_size=2).map(tuple),
    facts=facts,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(SETS)
def test_round_trip(value: MeasurementSet) -> None:
    text = json.dumps(measurements_to_json(value)).encode()
    assert parse_measurements(text) == value


@given(st.binary(max_size=64))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_measurements(data)


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += _paths(item, (*at, key))
    return found


@given(SETS, JSON, st.randoms(use_true_random=False))
def test_one_value_replaced(value: MeasurementSet, replacement: Any, random: Any) -> None:
    """Whatever stands at any one place, the answer is a value or a FormatError."""
    document = json.loads(json.dumps(measurements_to_json(value)))
    path = random.choice(_paths(document))
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = replacement
    try:
        measurements_from_json(document)
    except FormatError as error:
        assert error.code == "PVB202"


def test_says_where() -> None:
    base: dict[str, Any] = {
        "schema": "podvm-measurements/1",
        "target": "t",
        "ids": {},
        "identifies_image": {"value": False, "by": [], "reason": "r"},
        "measurements": [{"register": "tpm.pcr04", "alg": "sha256", "status": "predicted", "value": "00"}],
    }
    with pytest.raises(FormatError, match=r"`measurements\[0\]\.value` has 1 bytes; sha256 has 32"):
        measurements_from_json(base)
    base["measurements"][0] |= {"value": None}
    with pytest.raises(FormatError, match="without a value"):
        measurements_from_json(base)
    with pytest.raises(FormatError, match="podvm-measurements/1"):
        measurements_from_json(base | {"schema": "podvm-measurements/2"})


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    with pytest.raises(FormatError):
        parse_measurements(b"[" * 100_000)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(FormatError, match="not Unicode text"):
        parse_measurements(
            b'{"schema": "podvm-measurements/1", "target": "\\ud800", "ids": {}, '
            b'"identifies_image": {"value": false, "by": [], "reason": ""}, "measurements": []}'
        )
