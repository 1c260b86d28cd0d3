"""Facts as the verifiers' claims have them: read from text, and derived where one fact holds several claims."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping

from podvm_builder.errors import InputError
from podvm_builder.model.fact import FACTS, Fact, Facts, FactValue
from podvm_builder.model.refvalue import Scalar

# Guest policy of SEV-SNP (AMD publication 56860, table 9): bits 7:0 and 15:8 are the minimum ABI, 16 allows SMT,
# 18 a migration agent, 19 debugging, 20 demands a single socket
POLICY_MIGRATE_MA = 1 << 18
POLICY_DEBUG = 1 << 19


def _number(fact: FactValue) -> int:
    return fact if isinstance(fact, int) else int(fact)


def _bit(position: int) -> Callable[[FactValue], Scalar]:
    return lambda fact: bool(_number(fact) >> position & 1)


def _enabled(fact: FactValue) -> Scalar:
    return fact == "enabled"


DERIVED: Mapping[str, tuple[str, Callable[[FactValue], Scalar]]] = {
    "snp_smt": ("snp_smt", _enabled),
    "snp_tsme": ("snp_tsme", _enabled),
    "abi_minor": ("snp_guest_policy", lambda fact: _number(fact) & 0xFF),
    "abi_major": ("snp_guest_policy", lambda fact: _number(fact) >> 8 & 0xFF),
    "smt_allowed": ("snp_guest_policy", _bit(16)),
    "single_socket": ("snp_guest_policy", _bit(20)),
}
"""What is no fact itself: the fact that it is read from, and how. Every other name is the fact of that name."""


def source(name: str) -> str:
    """Return the fact that a derived one is read from, the name that a user says."""
    return DERIVED[name][0] if name in DERIVED else name


def fact_values(facts: Facts, name: str) -> tuple[Scalar, ...]:
    """Return the accepted values of a fact or a derived one, each once; none where the fact is not known."""
    fact, read = DERIVED.get(name, (name, lambda value: value))
    return tuple(dict.fromkeys(read(value) for value in facts.get(fact, ())))


def parse_facts(texts: Iterable[str]) -> Facts:
    """Read ``NAME=VALUE[,VALUE…]``; a name that is given again adds to its values.

    Raises:
        InputError: there is no such fact, or a value is not one of its kind (PVB611).
    """
    found: dict[str, list[FactValue]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or name not in FACTS:
            raise InputError(f"`{text}` names no fact", code="PVB611", hint=f"NAME=VALUE, of {', '.join(FACTS)}")
        found.setdefault(name, []).extend(fact_value(name, value) for value in values.split(","))
    return {name: tuple(dict.fromkeys(values)) for name, values in found.items()}


def fact_value(name: str, value: FactValue) -> FactValue:
    """Return one value of a fact as it is kept: numbers as numbers, hex in lower case.

    Raises:
        InputError: it is not of the fact's kind (PVB611).
    """
    fact = FACTS[name]
    try:
        return _KINDS[fact.kind](fact, value)
    except ValueError as error:
        raise InputError(f"`{name}`: `{value}` is not {error}", code="PVB611", hint=fact.title) from None


def _read_number(fact: Fact, value: FactValue) -> FactValue:
    if isinstance(value, str):
        if not re.fullmatch(r"0x[0-9a-fA-F]{1,16}|[0-9]{1,20}", value):
            raise ValueError("a whole number")
        value = int(value, 0) if value.startswith("0x") else int(value)
    if not 0 <= value <= fact.size:
        raise ValueError(f"a number from 0 to {fact.size}")
    return value


def _read_hex(fact: Fact, value: FactValue) -> FactValue:
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{2 * fact.size}}}", value):
        raise ValueError(f"the hex of {fact.size} bytes")
    return value.lower()


def _read_base64(_: Fact, value: FactValue) -> FactValue:
    try:
        if isinstance(value, str) and base64.b64decode(value, validate=True):
            return value
    except (binascii.Error, ValueError):
        pass
    raise ValueError("padded base64")


def _read_word(fact: Fact, value: FactValue) -> FactValue:
    if fact.words and value not in fact.words:
        raise ValueError(f"one of {', '.join(fact.words)}")
    if not isinstance(value, str) or not value.isprintable() or not value:
        raise ValueError("a word")
    return value


_KINDS: Mapping[str, Callable[[Fact, FactValue], FactValue]] = {
    "number": _read_number,
    "hex": _read_hex,
    "base64": _read_base64,
    "word": _read_word,
}
