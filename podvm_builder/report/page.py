"""A build as one HTML page: no script, nothing from outside, every text escaped."""

from __future__ import annotations

from html import escape

from podvm_builder.model.lint import LintReport
from podvm_builder.model.manifest import ComponentRecord, ImageManifest
from podvm_builder.model.measurement import Measurement, MeasurementSet
from podvm_builder.report.lint import summary
from podvm_builder.report.text import printable

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;"
    "border-bottom:1px solid #8886}code{overflow-wrap:anywhere}"
)


def page(manifest: ImageManifest, measurements: MeasurementSet, linted: LintReport) -> str:
    """Return the page: what was built, whether its evidence identifies it, what lint let pass, and every register."""
    said = measurements.identifies_image
    by = f" by {', '.join(said.by)}" if said.by else ""
    facts = [
        ("image identity", manifest.ids.image),
        ("root identity", manifest.ids.rootfs),
        ("plan identity", manifest.ids.plan),
        ("root hash", manifest.root_hash),
        *((name, f"{record.size} bytes, sha256:{record.sha256}") for name, record in manifest.files.items()),
        ("flags", ", ".join(manifest.flags) or "none"),
        ("packages", str(len(manifest.packages))),
        ("lint", summary(linted)),
        *(
            (f"{one.finding.code}, not counted", f"{one.finding.message} ({one.by}: {one.reason})")
            for one in linted.excused
        ),
        ("identifies the image", f"{'yes' if said.value else 'no'}{by}: {said.reason}"),
    ]
    rows = "\n".join(_row(row) for row in measurements.measurements)
    title = _text(manifest.target)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>\n'
        f"<h1>{title}</h1>\n<table>\n"
        + "\n".join(f"<tr><th>{_text(name)}<td><code>{_text(value)}</code>" for name, value in facts)
        + "\n</table>\n<h2>Components</h2>\n<table>\n<tr><th>path<th>from<th>digest<th>licence<th>origin\n"
        + "\n".join(map(_component, manifest.components))
        + "\n</table>\n<h2>Registers</h2>\n<table>\n<tr><th>register<th>algorithm<th>status<th>for<th>value or reason\n"
        + rows
        + "\n</table>\n</html>\n"
    )


def _component(one: ComponentRecord) -> str:
    origin = f"{one.verification}: {one.note}" if one.note else one.verification
    cells = (f"<code>{_text(one.path)}</code>", _text(one.source), f"<code>{_text(one.digest)}</code>")
    return "<tr>" + "".join(f"<td>{cell}" for cell in (*cells, _text(one.licence), _text(origin)))


def _row(row: Measurement) -> str:
    variant = ", ".join(f"{name} {value}" for name, value in row.variant.items())
    value = f"<code>{row.value.hex()}</code>" if row.value is not None else _text(row.reason or "")
    cells = (*map(_text, (row.register, row.alg, row.status.value, variant)), value)
    return "<tr>" + "".join(f"<td>{cell}" for cell in cells)


def _text(text: str) -> str:
    """Return a text that stands for itself and changes nothing around it, the direction of writing included."""
    return escape(printable(text))
