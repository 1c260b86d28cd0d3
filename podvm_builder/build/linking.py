"""The check of a built image: whether its components find what they are linked with.

It can be known only here, as what packages bring is not known before they are installed.
"""

from __future__ import annotations

from pathlib import Path

from podvm_builder.errors import Finding, FormatError
from podvm_builder.formats.compression import Unsupported
from podvm_builder.guest.linking import unmet
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.userspace import open_root
from podvm_builder.model.components import GuestComponents
from podvm_builder.report.text import printable
from podvm_builder.tools.files import FileReader


def check_linking(image: Path, components: GuestComponents) -> tuple[str, ...]:
    """See that every program of an image has its interpreter and its libraries there.

    Returns:
        Notes for the reader: why it was not checked, if it was not.

    Raises:
        Finding: PVB758, one lacks something.
    """
    missing: list[str] = []
    try:
        with FileReader(image) as disk:
            artifacts = read_boot_artifacts(disk)
            root = None if artifacts.gpt is None else open_root(disk, artifacts.gpt)
            if root is None:
                return ("what the components are linked with was not checked: the root cannot be read",)
            for path, file in components.files.items():
                if file.mode & 0o100 and not path.startswith("pause_bundle/"):
                    missing += [f"/{path} needs {printable(name)}" for name in unmet(root, path, file.data)]
    except (FormatError, Unsupported) as error:
        said = error.message if isinstance(error, FormatError) else str(error)
        return (f"what the components are linked with was not checked: {printable(said)}",)
    if missing:
        raise Finding(
            "programs lack what they are linked with:" + "".join(f"\n  | {line}" for line in missing),
            code="PVB758",
            hint="add the packages that bring it to `packages`, or use programs that are linked statically",
        )
    return ()
