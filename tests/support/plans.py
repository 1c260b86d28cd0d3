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
from podvm_builder.planning.make import make_plan, make_plans
from podvm_builder.planning.support import every_target, why_not
from podvm_builder.recipes.mkosi import render
from podvm_builder.recipes.packer import render_packer


@cache
def selftest_plan(target: str, *sets: str) -> Plan:
    """Return the plan of a target with the selftest components."""
    digest = components_digest(payload_identity(selftest()))
    return make_plan(Target.parse(target), catalogue(), sets, components_digest=digest)


def selftest_recipe(target: str, *sets: str) -> RecipeTree:
    """Return the mkosi recipe of a target with the selftest components."""
    return render(selftest_plan(target, *sets), selftest())


@cache
def packer_plan(target: str, *sets: str) -> Plan:
    """Return the plan of a target that Packer makes with the selftest components."""
    digest = components_digest(payload_identity(selftest()))
    (plan,) = make_plans(Target.parse(target), catalogue(), sets, components_digest=digest, builder="packer")
    return plan


@cache
def packer_recipe(target: str, *sets: str) -> RecipeTree:
    """Return the Packer template of a target with the selftest components."""
    return render_packer(packer_plan(target, *sets), selftest())


def packer_targets() -> list[str]:
    """Return every target that Packer can make."""
    known = catalogue()
    return [
        str(target)
        for target in every_target(known)
        if why_not(target, known) is None
        and known.distros[target.distro].packer is not None
        and (packer := known.clouds[target.cloud].packer) is not None
        and target.arch in packer.architectures
    ]
