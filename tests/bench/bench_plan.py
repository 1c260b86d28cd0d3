"""Milliseconds to load the catalogue, to plan and render its whole matrix, and to read a profile."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.resources import files

from podvm_builder.catalog.load import ROOT, catalogue, load
from podvm_builder.guest.components import selftest
from podvm_builder.planning.make import make_plan, make_plans
from podvm_builder.planning.profile import parse_profile
from podvm_builder.planning.support import every_target, why_not
from podvm_builder.recipes.render import render

PROFILE = "schema: 1\ndistro: debian-13\ntee: [snp, tdx]\ncloud: [libvirt, azure]\nkernel: {cmdline: {append: [a]}}\n"


def best(action: Callable[[], object], repeat: int = 7) -> float:
    """Return the least milliseconds of several runs."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times) * 1000


def main() -> None:
    """Print the figures."""
    known = catalogue()
    targets = [target for target in every_target(known) if why_not(target, known) is None]
    profile = parse_profile(PROFILE, file="f")
    print(f"load the catalogue        {best(lambda: load(files(ROOT))):7.1f} ms")
    print(
        f"plan {len(targets):3} targets          "
        f"{best(lambda: [make_plan(target, known, components_digest='') for target in targets]):7.1f} ms"
    )
    plans = [make_plan(target, known, components_digest="") for target in targets]
    print(
        f"render {len(plans):3} targets        "
        f"{best(lambda: [render(plan, selftest()) for plan in plans], repeat=1):7.1f} ms"
    )
    print(f"read a profile            {best(lambda: parse_profile(PROFILE, file='f')):7.1f} ms")
    print(f"plan a profile of 4       {best(lambda: make_plans(profile, known, components_digest='')):7.1f} ms")


if __name__ == "__main__":
    main()
