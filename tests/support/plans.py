"""Plans and recipes of real targets, made once per process."""

from __future__ import annotations

from functools import cache

from podvm_builder.catalog.load import catalogue
from podvm_builder.guest.components import selftest
from podvm_builder.guest.payload import payload_identity
from podvm_builder.model.axes import Target
from podvm_builder.model.plan import Plan
from podvm_builder.model.recipe import RecipeTree
from podvm_builder.planning.identity import components_digest
from podvm_builder.planning.make import make_plan
from podvm_builder.recipes.mkosi import render


@cache
def selftest_plan(target: str, *sets: str) -> Plan:
    """Return the plan of a target with the selftest components."""
    digest = components_digest(payload_identity(selftest()))
    return make_plan(Target.parse(target), catalogue(), sets, components_digest=digest)


def selftest_recipe(target: str, *sets: str) -> RecipeTree:
    """Return the mkosi recipe of a target with the selftest components."""
    return render(selftest_plan(target, *sets), selftest())
