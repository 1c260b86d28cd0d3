"""The golden files: what each holds, and the one command that writes them anew.

``python -m tests.golden.regenerate`` (or ``make golden``) writes every file; the test beside this module compares.
To add one, add its path below ``tests/golden`` and a function that returns its bytes to ``GOLDEN``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from podvm_builder.catalog.load import catalogue
from podvm_builder.guest.components import selftest
from podvm_builder.model.axes import Target
from podvm_builder.model.recipe import recipe_digest
from podvm_builder.planning.make import make_plan
from podvm_builder.planning.support import every_target, why_not
from podvm_builder.recipes.render import render
from podvm_builder.report.plan import plan_to_json

FOLDER = Path(__file__).parent
REFERENCE_TARGETS = ("debian-13/snp/libvirt", "debian-13/tdx/azure")


def plan(target: str) -> bytes:
    """Return a target's plan as JSON, with components of a fixed identity."""
    made = make_plan(Target.parse(target), catalogue(), components_digest="0" * 64)
    return (json.dumps(plan_to_json(made), indent=2) + "\n").encode()


def recipes() -> bytes:
    """Return the digest of the recipe of every target that works, with the selftest components."""
    known = catalogue()
    lines = []
    for target in every_target(known):
        if why_not(target, known) is None:
            made = make_plan(target, known, components_digest="0" * 64)
            lines.append(f"{recipe_digest(render(made, selftest()))}  {target} {made.builder}\n")
    return "".join(lines).encode()


GOLDEN: dict[str, Callable[[], bytes]] = {
    f"plans/{Target.parse(target).folder}.json": partial(plan, target) for target in REFERENCE_TARGETS
} | {"plans/recipes.sha256": recipes}


def main() -> None:
    """Write every golden file."""
    for name, make in GOLDEN.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make())


if __name__ == "__main__":
    main()
