"""``podvm-build list``: what exists, what combines, and how far each combination is proven."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from podvm_builder.catalog.entries import LEVELS, Catalogue
from podvm_builder.catalog.instance_types import instances
from podvm_builder.catalog.load import catalogue
from podvm_builder.cli.common import format_option, print_json
from podvm_builder.errors import InputError, Place
from podvm_builder.planning.make import make_plan
from podvm_builder.planning.rules import unknown_name
from podvm_builder.planning.support import every_target, why_not
from podvm_builder.report.catalogue import cloud_rows, distro_rows, firmware_rows, instance_rows, table, tee_rows

_TARGETS = {
    "target": "TARGET",
    "level": "LEVEL",
    "evidence": "EVIDENCE",
    "identifies_image": "IDENTIFIES THE IMAGE",
    "note": "",
}
_INSTANCES = {
    "name": "NAME",
    "tee": "TEE",
    "vcpus": "VCPUS",
    "cpu": "CPU",
    "predicted": "DIGEST PREDICTED",
    "certainty": "CERTAINTY",
    "source": "SOURCE",
}
_KINDS = {
    "distros": (
        distro_rows,
        {
            "name": "NAME",
            "architectures": "ARCHITECTURES",
            "builder": "BUILDER",
            "title": "TITLE",
            "package_names": "PACKAGE NAMES CHECKED",
        },
    ),
    "tees": (tee_rows, {"name": "NAME", "supported": "SUPPORTED", "title": "TITLE", "reason": "REASON"}),
    "clouds": (cloud_rows, {"name": "NAME", "tees": "TEES", "boots": "BOOT PATHS", "title": "TITLE"}),
    "firmware": (
        firmware_rows,
        {"name": "NAME", "package": "PACKAGE", "suite": "SUITE", "kernel_hashes": "KERNEL HASHES", "title": "TITLE"},
    ),
}


@click.command()
@click.argument("kind", type=click.Choice(["targets", "instances", *_KINDS]), default="targets")
@click.option("--distro", help="Only targets of this distribution.")
@click.option("--tee", help="Only targets of this TEE.")
@click.option("--cloud", help="Only targets of this cloud.")
@click.option("--arch", help="Only targets of this architecture.")
@click.option("--level", type=click.Choice(LEVELS), help="Only targets of this level or a higher one.")
@format_option
def command(
    *,
    kind: str,
    distro: str | None,
    tee: str | None,
    cloud: str | None,
    arch: str | None,
    level: str | None,
    output_format: str,
) -> None:
    """List targets, instance types, distributions, TEEs, clouds or firmware.

    Targets are every combination of the catalogue; one that cannot work has its reason. Levels, lowest first:
    planned, rendered, validated (mkosi accepts the recipe), built, booted.
    """
    known = catalogue()
    named = (("distro", distro), ("tee", tee), ("cloud", cloud), ("arch", arch))
    wanted = {axis: name for axis, name in named if name is not None}
    if kind == "targets":
        rows = list(_target_rows(known, wanted, level))
        columns = _TARGETS
        if output_format != "json":
            rows = [{**row, "note": "" if row["identifies_image"] else row["reason"]} for row in rows]
    elif kind == "instances":
        if level or not wanted.keys() <= {"cloud", "tee"}:
            raise InputError("`list instances` takes the filters --cloud and --tee only", code="PVB100")
        _check_names(wanted, known)
        found = [one for one in instances().values() if all(getattr(one, axis) == wanted[axis] for axis in wanted)]
        rows = [dict(row) for row in instance_rows(found)]
        columns = _INSTANCES
    else:
        if wanted or level:
            raise InputError(f"`list {kind}` takes no filters", code="PVB100", hint="`list targets` does")
        make_rows, columns = _KINDS[kind]
        rows = [dict(row) for row in make_rows(known)]
    if output_format == "json":
        print_json(rows)
    else:
        click.echo(table(rows, columns))


def _check_names(wanted: dict[str, str], known: Catalogue) -> None:
    for axis, name in wanted.items():
        error = unknown_name(axis, name, Place(file=f"--{axis}"), known)
        if error is not None:
            raise error


def _target_rows(known: Catalogue, wanted: dict[str, str], level: str | None) -> Iterator[dict[str, Any]]:
    _check_names(wanted, known)
    for target in every_target(known):
        if any(getattr(target, axis) != name for axis, name in wanted.items()):
            continue
        reason = why_not(target, known)
        # what the components hold changes identities only, which are not shown here
        plan = make_plan(target, known, components_digest="") if reason is None else None
        if level is not None and (plan is None or LEVELS.index(plan.level) < LEVELS.index(level)):
            continue
        yield {
            "target": str(target),
            "supported": plan is not None,
            "level": plan.level if plan else None,
            "builder": plan.builder if plan else None,
            "evidence": plan.evidence.kind if plan else None,
            "identifies_image": plan.evidence.identifies if plan else None,
            "reason": plan.evidence.reason if plan else reason,
        }
