"""``podvm-build initdata make``: what a profile leaves to be delivered, ready to be sent."""

from __future__ import annotations

from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.source import input_options, resolve, set_option, source_argument

NAMES = ("initdata.toml", "initdata.b64", "user-data")


@click.command()
@source_argument
@set_option
@input_options
@click.option(
    "-o", "--output", "out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where to write it."
)
@click.option(
    "--algorithm",
    type=click.Choice(["sha256", "sha384", "sha512"]),
    help="Digest of the initdata; sha512 for CCA, sha256 elsewhere.",
)
@format_option
def command(
    *,
    source: str,
    sets: tuple[str, ...],
    components: str | None,
    firmware: str | None,
    out: Path,
    algorithm: str | None,
    output_format: str,
) -> None:
    """Write the documents that a profile has and does not bake, as initdata and user data, into DIR.

    initdata.toml is the document, initdata.b64 what the annotation `io.katacontainers.config.hypervisor.cc_init_data`
    of a pod or cloud-api-adaptor's `INITDATA` holds, user-data the cloud-config that a machine is started with without
    either. The digest and what evidence holds for it are printed.
    """
    from podvm_builder.formats.initdata import annotation
    from podvm_builder.guest.deliver import make_initdata
    from podvm_builder.guest.userdata import cloud_config
    from podvm_builder.report.initdata import initdata_to_json, render_initdata
    from podvm_builder.tools.files import write_atomic, writing

    resolved = resolve(source, sets, components=components, firmware=firmware)
    initdata = make_initdata(resolved.plans, resolved.documents, algorithm)
    text = annotation(initdata) + "\n"
    contents = (initdata.toml, text.encode(), cloud_config({"initdata": text}).encode())
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    for name, data in zip(NAMES, contents, strict=True):
        write_atomic(out / name, data)
    if output_format == "json":
        print_json({**initdata_to_json(initdata), "files": {name: str(out / name) for name in NAMES}})
    else:
        click.echo(render_initdata(initdata))
        for name in NAMES:
            click.echo(out / name)
