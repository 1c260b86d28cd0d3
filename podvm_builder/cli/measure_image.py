"""``podvm-build measure image``: every register of a built image's evidence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import click

from podvm_builder.cli.common import explain_option, format_option
from podvm_builder.cli.input_files import named, read_file
from podvm_builder.cli.measure_output import print_set
from podvm_builder.cli.place import say
from podvm_builder.cli.platform_inputs import platform_option, read_profile
from podvm_builder.errors import InputError
from podvm_builder.formats.ovmf import MAX_IMAGE, read_table
from podvm_builder.measure.image import measure_image
from podvm_builder.model.layout import RAW, UKI
from podvm_builder.model.manifest import ImageManifest
from podvm_builder.tools.files import FileReader, hashing_threads
from podvm_builder.tools.output import output_file, read_manifest

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option(
    "--firmware",
    type=_PATH,
    metavar="FILE",
    help="The firmware that the image's platform names; else the cache's.",
)
@click.option("--cache", type=_PATH, metavar="DIR", help="Cache that the build used.")
@platform_option
@explain_option
@format_option
def command(
    *, folder: Path, firmware: Path | None, cache: Path | None, platform: Path | None, output_format: str
) -> None:
    """Predict the launch digest, MRTD and PCRs of a built image, and say whether they identify it.

    DIR holds a build's image.raw, image.efi and manifest.json; nothing in it is written to, and nothing is fetched.
    """
    manifest = read_manifest(folder)
    profile = read_profile(platform)
    raw, kernel = output_file(folder, RAW), output_file(folder, UKI)
    images = _firmware(manifest, firmware, cache)
    with named(raw), FileReader(raw) as image, FileReader(kernel) as uki:
        found = measure_image(
            manifest, image=image, uki=uki, firmware=images, profile=profile, workers=hashing_threads()
        )
    print_set(found, output_format)


def _firmware(manifest: ImageManifest, given: Path | None, cache: Path | None) -> Mapping[str, bytes]:
    """Return the platform's firmware: as given, or as the build had it; nothing where the cloud provides it.

    Raises:
        InputError: PVB100, a firmware is given and decides nothing; PVB320, it cannot be read.
        FormatError: PVB220 to PVB222, what is given is no firmware.
    """
    name = manifest.platform.firmware
    if not name:
        if given is not None:
            raise InputError(
                f"the firmware of {manifest.target} is the cloud's own, so `--firmware` would decide nothing",
                code="PVB100",
                hint="leave `--firmware` out",
            )
        return {}
    if given is not None:
        data = read_file(given, limit=MAX_IMAGE)
        with named(given):
            read_table(data)
        return {name: data}
    from podvm_builder.catalog.load import catalogue
    from podvm_builder.tools.cache import open_cache
    from podvm_builder.tools.firmware import NotAtHand, get_firmware
    from podvm_builder.tools.tree import load_tree

    # a manifest may come from anywhere: what it names must be an identity, not a path
    if name not in catalogue().firmware:
        _say_missing(name, "it is no firmware of the catalogue, and no file is read because a manifest names it")
        return {}
    place = open_cache(cache)
    spec = manifest.tools.get("spec", "")
    tree = load_tree(place, spec) if re.fullmatch(r"[0-9a-f]{64}", spec) else None
    if tree is None:
        _say_missing(name, f"no tools tree of this build in `{place}`")
        return {}
    found = get_firmware(name, tree=tree, cache=place, mirrors=None, progress=say)
    if isinstance(found, NotAtHand):
        _say_missing(name, found.reason)
        return {}
    return {name: found.data}


def _say_missing(name: str, reason: str) -> None:
    say(f"note: firmware `{name}` is not at hand: {reason}; --firmware FILE gives it, --cache DIR the build's cache")
