"""Facts about machines, as any profile may say them."""

from __future__ import annotations

import base64

from hypothesis import strategies as st

from podvm_builder.model.fact import FACTS, Fact, Facts, FactValue


def _values(fact: Fact) -> st.SearchStrategy[FactValue]:
    match fact.kind:
        case "number":
            return st.integers(0, fact.size)
        case "hex":
            return st.binary(min_size=fact.size, max_size=fact.size).map(bytes.hex)
        case "base64":
            return st.binary(min_size=1, max_size=8).map(lambda value: base64.b64encode(value).decode())
        case _:
            return st.sampled_from(fact.words or ("abcde", "x"))


facts: st.SearchStrategy[Facts] = st.fixed_dictionaries(
    {},
    optional={name: st.lists(_values(fact), min_size=1, max_size=2).map(tuple) for name, fact in FACTS.items()},
)
