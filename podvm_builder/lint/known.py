"""What the rules go by: the catalogue, and the files of it that only linting needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from podvm_builder.catalog.entries import Catalogue
from podvm_builder.catalog.lint_facts import ContractItem, LintFacts
from podvm_builder.catalog.load import catalogue, contract_items, lint_knowledge


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All of it."""

    catalogue: Catalogue
    facts: LintFacts
    contract: tuple[ContractItem, ...]


@cache
def own_knowledge() -> Known:
    """Return what comes with the program."""
    return Known(catalogue=catalogue(), facts=lint_knowledge(), contract=contract_items())
