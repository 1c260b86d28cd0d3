"""A rule: a small function with a code, a name and a mend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from podvm_builder.lint.known import Known
from podvm_builder.lint.subject import Need, Subject

Hit = tuple[str, str]
"""Place and message."""
Check = Callable[[Subject, Known], Iterator[Hit]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is looked for."""

    code: str
    name: str
    needs: frozenset[Need]
    check: Check
    """Yields what is found; raises nothing but what reading the files raises."""
    mend: str
    """What to do about a finding."""


def rule(code: str, name: str, *needs: Need, mend: str) -> Callable[[Check], Rule]:
    """Make a rule of the function below."""

    def made(check: Check) -> Rule:
        return Rule(code=code, name=name, needs=frozenset(needs), check=check, mend=mend)

    return made
