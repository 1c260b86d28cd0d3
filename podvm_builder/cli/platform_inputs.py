"""The option that names a platform profile, and reading what it names."""

from __future__ import annotations

from pathlib import Path

import click

from podvm_builder.cli.input_files import named, read_file
from podvm_builder.formats.platform_profile import MAX_PROFILE, parse_profile_document
from podvm_builder.model.platform import PlatformProfile

platform_option = click.option(
    "--platform",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What `evidence learn` made of a machine's log: the firmware's own events and habits.",
)


def read_profile(path: Path | None) -> PlatformProfile | None:
    """Return the profile that a file holds; None where none is named.

    Raises:
        InputError: PVB320, it cannot be read.
        FormatError: PVB264, it is not a profile.
    """
    if path is None:
        return None
    data = read_file(path, limit=MAX_PROFILE)
    with named(path):
        return parse_profile_document(data)
