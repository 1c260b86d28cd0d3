"""``podvm-build measure image``: every register of a built image's evidence."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import click

from podvm_builder.cli.common import explain_option, format_option
from podvm_builder.cli.input_files import named, read_file
from podvm_builder.cli.measure_output import print_set
from podvm_builder.errors import FormatError
from podvm_builder.formats.manifest import manifest_from_json
from podvm_builder.formats.ovmf import MAX_IMAGE
from podvm_builder.measure.image import measure_image
from podvm_builder.model.layout import MANIFEST, RAW, UKI
from podvm_builder.model.manifest import ImageManifest
from podvm_builder.tools.files import FileReader

_PATH = click.Path(path_type=Path)
_MAX_MANIFEST = 64 << 20


@click.command()
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option(
    "--firmware", type=_PATH, metavar="FILE", help="The firmware that the image's platform names; else the cache's."
)
@click.option("--cache", type=_PATH, metavar="DIR", help="Cache that the build used.")
@explain_option
@format_option
def command(*, folder: Path, firmware: Path | None, cache: Path | None, output_format: str) -> None:
    """Predict the launch digest, MRTD and PCRs of a built image, and say whether they identify it.

    DIR holds a build's image.raw, image.efi and manifest.json; nothing in it is written to.
    """
    path = folder / MANIFEST
    with named(path):
        manifest = _manifest(read_file(path, limit=_MAX_MANIFEST))
    images = _firmware(manifest, firmware, cache)
    with named(folder / RAW), FileReader(folder / RAW) as image, FileReader(folder / UKI) as uki:
        found = measure_image(manifest, image=image, uki=uki, firmware=images, workers=min(4, os.cpu_count() or 1))
    print_set(found, output_format)


def _manifest(data: bytes) -> ImageManifest:
    try:
        return manifest_from_json(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not JSON: {error}", code="PVB203") from error


def _firmware(manifest: ImageManifest, given: Path | None, cache: Path | None) -> Mapping[str, bytes]:
    """Return the platform's firmware: as given, or as the build had it; nothing where the cloud provides it."""
    name = manifest.platform.firmware
    if not name:
        return {}
    if given is not None:
        return {name: read_file(given, limit=MAX_IMAGE)}
    from podvm_builder.tools.cache import open_cache
    from podvm_builder.tools.firmware import NotAtHand, get_firmware
    from podvm_builder.tools.mirror import find_mirrors
    from podvm_builder.tools.tree import load_tree

    place = open_cache(cache)
    spec = manifest.tools.get("spec", "")
    # a manifest may come from anywhere: what it names must be an identity, not a path
    tree = load_tree(place, spec) if re.fullmatch(r"[0-9a-f]{64}", spec) else None
    if tree is None:
        click.echo(f"note: firmware `{name}` is not at hand: no tools tree of this build in `{place}`", err=True)
        return {}
    mirrors = find_mirrors(None, suite="sid")
    found = get_firmware(
        name, tree=tree, cache=place, mirrors=mirrors, progress=lambda line: click.echo(line, err=True)
    )
    if isinstance(found, NotAtHand):
        click.echo(f"note: firmware `{name}` is not at hand: {found.reason}", err=True)
        return {}
    return {name: found.data}
