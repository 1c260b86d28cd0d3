"""In which order units start, and which of them wait for themselves.

Specification: systemd.unit(5), ``Before=`` and ``After=``; systemd.target(5), "Automatic Dependencies".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from podvm_builder.guest.unit_tree import Unit, orders


def order_of(reached: Mapping[str, Unit]) -> dict[str, set[str]]:
    """Return for each unit those that it is ordered after.

    A target comes after what it wants and requires, unless that says otherwise (systemd.target(5)).
    """
    before: dict[str, set[str]] = {name: set() for name in reached}
    for unit in reached.values():
        for later, earlier in orders(unit):
            if later in reached and earlier in reached and later != earlier:
                before[later].add(earlier)
    for unit in reached.values():
        if unit.type == ".target" and unit.default_dependencies:
            for name in unit.pulled & reached.keys():
                if reached[name].default_dependencies and unit.name not in before[name]:
                    before[unit.name].add(name)
    return before


def cycle_of(before: Mapping[str, set[str]], start: str) -> list[str]:
    """Return the shortest way from a unit over those that it is ordered after back to itself, empty if none is."""
    came: dict[str, str] = {}
    todo = deque([start])
    while todo:
        name = todo.popleft()
        for earlier in sorted(before[name]):
            if earlier == start:
                way = [name]
                while way[-1] != start:
                    way.append(came[way[-1]])
                return way[::-1]
            if earlier not in came:
                came[earlier] = name
                todo.append(earlier)
    return []
