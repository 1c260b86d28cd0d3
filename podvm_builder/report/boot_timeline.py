"""A boot as a picture: phases, steps and units on one axis of time, as an SVG document without scripts.

Specification: W3C SVG 1.1. Colours follow the reader's light or dark mode where the viewer knows of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

from podvm_builder.guest.unit_check import AGENTS
from podvm_builder.model.boot import BootResult, UnitTime
from podvm_builder.report.text import printable

_WIDTH, _LEFT, _RIGHT = 1120, 290, 70
_ROW, _BAR, _TOP = 22, 14, 64
_TICKS = 10
"""About so many marks on the axis."""
_SLOWEST = 14
"""Units that are shown, besides those of the agents."""

_STYLE = """
    text { font: 12px system-ui, sans-serif; fill: #1f2328; }
    .ground { fill: #ffffff; }
    .title { font-size: 15px; font-weight: 600; }
    .head { font-weight: 600; }
    .faint { fill: #59636e; }
    .note { paint-order: stroke; stroke: #ffffff; stroke-width: 3px; }
    .grid { stroke: #d1d9e0; stroke-width: 1; }
    .phase { fill: #0969da; }
    .unit { fill: #1a7f37; }
    .step { fill: #9a6700; }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc; }
      .ground { fill: #0d1117; }
      .faint { fill: #9198a1; }
      .note { stroke: #0d1117; }
      .grid { stroke: #3d444d; }
      .phase { fill: #4493f8; }
      .unit { fill: #3fb950; }
      .step { fill: #d29922; }
    }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One line of the picture; without a kind it is a heading."""

    label: str
    kind: str = ""
    start: float = 0.0
    end: float = 0.0
    note: str = ""


def timeline_svg(result: BootResult) -> str:
    """Return the document; a boot that did not come up has steps only."""
    rows = [*_phases(result), *_steps(result), *_units(result.units)]
    whole = max([row.end for row in rows] + [0.1])
    height = _TOP + _ROW * len(rows) + 16
    ended = f"not up ({result.outcome.value})" if result.seconds is None else f"up after {result.seconds:.1f} s"
    title = _text(f"Boot of {result.target}: {ended}, run by {result.machine.get('accelerator', 'an emulator')}")
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="title">',
        f'  <title id="title">{title}</title>',
        f"  <style>{_STYLE}  </style>",
        f'  <rect class="ground" width="{_WIDTH}" height="{height}"/>',
        f'  <text class="title" x="12" y="26">{title}</text>',
        *_axis(whole, height),
    ]
    for number, row in enumerate(rows):
        lines += _drawn(row, _TOP + _ROW * number, whole)
    return "\n".join([*lines, "</svg>", ""])


def _phases(result: BootResult) -> Iterator[_Row]:
    if result.phases:
        yield _Row(label="Phases")
    for phase in result.phases:
        yield _Row(
            label=phase.name, kind="phase", start=phase.start, end=phase.end, note=f"{phase.end - phase.start:.1f} s"
        )


def _steps(result: BootResult) -> Iterator[_Row]:
    if result.timeline:
        yield _Row(label="Steps")
    for stage in result.timeline:
        yield _Row(
            label=f"{stage.seconds:.1f} s, {stage.source}",
            kind="step",
            start=stage.seconds,
            end=stage.seconds,
            note=stage.what,
        )


def _units(units: Iterable[UnitTime]) -> Iterator[_Row]:
    up = [unit for unit in units if unit.up is not None]
    slowest = sorted(up, key=lambda unit: -unit.seconds)[:_SLOWEST]
    shown = [unit for unit in up if unit in slowest or unit.name in AGENTS]
    if shown:
        yield _Row(label="Agents and slowest units")
    for unit in shown:
        end = unit.start + unit.seconds
        yield _Row(label=unit.name, kind="unit", start=unit.start, end=end, note=f"{unit.seconds:.2f} s")


def _axis(whole: float, height: int) -> Iterator[str]:
    step = _step(whole)
    for number in range(math.floor(whole / step) + 1):
        x = _x(number * step, whole)
        yield f'  <line class="grid" x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{height - 8}"/>'
        yield f'  <text class="faint" x="{x:.1f}" y="{_TOP - 14}" text-anchor="middle">{number * step:g} s</text>'


def _drawn(row: _Row, top: int, whole: float) -> Iterator[str]:
    base = top + _ROW - 7
    if not row.kind:
        yield f'  <text class="head" x="12" y="{base}">{_text(row.label)}</text>'
        return
    start, end = _x(row.start, whole), _x(row.end, whole)
    yield f'  <text x="{_LEFT - 10}" y="{base}" text-anchor="end">{_text(row.label, 42)}</text>'
    if row.kind == "step":
        yield f'  <circle class="step" cx="{start:.1f}" cy="{base - 4}" r="4"/>'
        start, end = start - 4, end + 4
    else:
        width = max(end - start, 2)
        yield f'  <rect class="{row.kind}" x="{start:.1f}" y="{base - 11}" width="{width:.1f}" height="{_BAR}" rx="2"/>'
    # what does not fit behind a mark stands before it
    if end > (_WIDTH + _LEFT) / 2 and row.kind == "step":
        yield f'  <text class="note" x="{start - 5:.1f}" y="{base}" text-anchor="end">{_text(row.note)}</text>'
    else:
        yield f'  <text class="note" x="{end + 5:.1f}" y="{base}">{_text(row.note)}</text>'


def _x(seconds: float, whole: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * max(seconds, 0.0) / whole


def _step(whole: float) -> float:
    """Return a round distance between two marks."""
    power = 10.0 ** math.floor(math.log10(whole / _TICKS))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor * _TICKS >= whole * 0.999)


def _text(words: str, most: int = 120) -> str:
    """Return text of the guest or of ours as XML allows it, shortened to what there is room for."""
    return escape(printable(words if len(words) <= most else f"{words[: most - 1]}…"))
