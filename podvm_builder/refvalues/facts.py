"""Facts as the verifiers' claims have them: read from text, and derived where one fact holds several claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from podvm_builder.errors import InputError
from podvm_builder.model.fact import FACTS, Facts, FactValue
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
        for value in values.split(","):
            try:
                found.setdefault(name, []).append(FACTS[name].read(value))
            except ValueError as error:
                raise InputError(f"`{name}`: `{value}` is not {error}", code="PVB611", hint=FACTS[name].title) from None
    return {name: tuple(dict.fromkeys(values)) for name, values in found.items()}
