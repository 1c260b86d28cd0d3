"""``podvm-build build``: the image, its measurements and its reference values."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.place import cache_option, mirror_option
from podvm_builder.cli.source import input_options, resolve, set_option, source_argument


@click.command()
@source_argument
@set_option
@input_options
@click.option(
    "-o",
    "--output",
    "out",
    default="out",
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the folder of each target goes.",
)
@click.option("--verify", is_flag=True, help="Build twice, under other conditions, and compare bit for bit.")
@click.option("--fresh", is_flag=True, help="Build anew, with the archive's newest packages.")
@mirror_option
@cache_option
@format_option
def command(
    *,
    source: str,
    sets: tuple[str, ...],
    components: str | None,
    firmware: str | None,
    out: Path,
    verify: bool,
    fresh: bool,
    mirror: str | None,
    cache: Path | None,
    output_format: str,
) -> None:
    """Build the image of each target, measure it, and export reference values.

    Every target gets a folder below DIR with image.raw, image.efi, manifest.json, measurements.json,
    reference-values/ and logs/. It is replaced whole at the end: a build that fails or is interrupted leaves the
    last good one. mkosi and everything else runs in the private tools tree, as root or in a user namespace.
    """
    from podvm_builder.build.image import STEPS, Options, build_image
    from podvm_builder.build.progress import Steps
    from podvm_builder.build.verify import STEPS as VERIFY_STEPS
    from podvm_builder.build.verify import verify_image
    from podvm_builder.report.build import BuildFacts, build_to_json, render_build
    from podvm_builder.tools.cache import open_cache
    from podvm_builder.tools.files import refuse_file

    resolved = resolve(source, sets, components=components, firmware=firmware)
    refuse_file(out)
    options = Options(
        out=out.absolute(),
        cache=open_cache(cache),
        base=resolved.base,
        mirror=mirror,
        # a proof of two builds needs two whole builds
        fresh=fresh or verify,
    )
    guest = resolved.load(options.cache)
    documents = []
    for number, plan in enumerate(resolved.plans):
        steps = Steps(len(STEPS) + len(VERIFY_STEPS) * verify, sys.stderr)
        steps.note(f"building {plan.target}")
        built = build_image(plan, guest, options=options, steps=steps)
        verified = verify_image(plan, built, options=options, steps=steps) if verify else None
        folder = out / plan.folder
        files = tuple(folder / "reference-values" / path.name for path in built.reference_values)
        facts = BuildFacts(
            manifest=built.manifest,
            measurements=built.measurements,
            folder=str(folder),
            reference_values=tuple(map(str, files)),
            no_reference_values=built.no_reference_values,
            seconds=steps.seconds,
            verified=verified is not None,
        )
        if output_format == "json":
            documents.append(build_to_json(facts))
        else:
            click.echo(("\n" if number else "") + render_build(facts))
    if output_format == "json":
        print_json(documents)
