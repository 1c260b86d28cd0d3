"""``podvm-build init``: a first profile, and the schema that an editor checks it by."""

from __future__ import annotations

import json
from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.errors import InputError, Place

SCHEMA_FILE = "podvm-profile.schema.json"
_PROFILE = """\
# yaml-language-server: $schema={schema}
# A profile of podvm-build. `podvm-build validate {file}` checks it, `podvm-build plan {file}` shows what it makes.
schema: 1
# name: acme # the file's name by default

# A list on an axis makes a matrix: `tee: [snp, tdx]` makes an image for each.
distro: {distro}
tee: {tee}
cloud: {cloud}
arch: {arch}
variant: {variant} # or debug

# Combinations to leave out of a matrix:
# exclude: [{{tee: tdx, cloud: aws}}]

# The guest's programs: selftest stands in for the agents; a folder beside this file holds real ones.
# components: components

# Lists replace the catalogue's, {{append: [], remove: []}} edits them.
# kernel: {{cmdline: {{append: [mitigations=auto]}}}}
# packages: {{append: [iptables]}}

# The machine whose measurements are predicted:
# platform: {{vcpus: [2, 4, 8], cpus: [EPYC-v4]}}
"""


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default="podvm.yaml")
@click.option("--target", default="debian-13/snp/libvirt", show_default=True, help="What the profile builds.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@format_option
def command(*, file: Path, target: str, force: bool, output_format: str) -> None:
    """Write a first profile, and beside it the JSON Schema that gives an editor completion."""
    from podvm_builder.catalog.load import catalogue
    from podvm_builder.model.axes import Target
    from podvm_builder.planning.make import make_plans
    from podvm_builder.planning.profile import parse_profile
    from podvm_builder.planning.schema import profile_schema
    from podvm_builder.tools.files import write_named

    known = catalogue()
    chosen = Target.parse(target)
    make_plans(chosen, known, components_digest="")
    text = _PROFILE.format(
        schema=f"./{SCHEMA_FILE}",
        file=file.name,
        distro=chosen.distro,
        tee=chosen.tee,
        cloud=chosen.cloud,
        arch=chosen.arch,
        variant=chosen.variant,
    )
    parse_profile(text, file=str(file), catalogue=known)
    schema = file.parent / SCHEMA_FILE
    if not force and file.exists():
        raise InputError(
            f"`{file}` is there already", code="PVB120", place=Place(file=str(file)), hint="`--force` replaces it"
        )
    write_named(schema, (json.dumps(profile_schema(known), indent=2) + "\n").encode())
    write_named(file, text.encode())
    if output_format == "json":
        print_json({"profile": str(file), "schema": str(schema)})
    click.echo(f"wrote {file} and {schema}; next: podvm-build plan {file}", err=True)
