"""The check of an image's units before it is booted."""

from __future__ import annotations

from pathlib import Path

from podvm_builder.errors import Finding, FormatError
from podvm_builder.formats.compression import Unsupported
from podvm_builder.guest.unit_check import check_units
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.place import masked_units
from podvm_builder.measure.userspace import open_root
from podvm_builder.report.text import printable
from podvm_builder.tools.files import FileReader


def check_image_units(image: Path) -> tuple[str, ...]:
    """Look whether a disk's units can start its agents.

    A disk that cannot be read is not judged: what its boot comes to is the answer then.

    Returns:
        Notes for the reader: what is amiss with units that are none of the agents', or why the units were not checked.

    Raises:
        Finding: PVB540, they cannot.
    """
    try:
        with FileReader(image) as disk:
            artifacts = read_boot_artifacts(disk)
            root = None if artifacts.gpt is None else open_root(disk, artifacts.gpt)
            if root is None:
                return ()
            cmdline = artifacts.uki.text(".cmdline").split(b"\0")[0].decode("ascii", "replace")
            found = check_units(root, masks=masked_units(cmdline, root), cmdline=cmdline)
    except (FormatError, Unsupported) as error:
        said = error.message if isinstance(error, FormatError) else str(error)
        return (f"the units of the image were not checked: {printable(said)}",)
    if found.faults:
        raise Finding(
            "the image's units cannot start its agents:" + "".join(f"\n  | {printable(line)}" for line in found.faults),
            code="PVB540",
            hint="mend the profile or the components, and build again",
        )
    return tuple(map(printable, found.remarks))
