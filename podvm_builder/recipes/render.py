"""The recipe of a plan, by its builder."""

from __future__ import annotations

from podvm_builder.model.plan import Plan
from podvm_builder.model.recipe import RecipeTree
from podvm_builder.recipes import mkosi
from podvm_builder.recipes.packer import render_packer


def render(plan: Plan, components: RecipeTree) -> RecipeTree:
    """Return the recipe of a plan: path to file, sorted.

    Raises:
        InputError: as the function of the plan's builder.
    """
    return render_packer(plan, components) if plan.builder == "packer" else mkosi.render(plan, components)
