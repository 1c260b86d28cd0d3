"""The guest components: the programs that make an image a PodVM, and where cloud-api-adaptor expects them.

An image holds either the real programs, taken from a folder that names them, or the selftest set: small
shell programs of ours that keep the same places, sockets and port, so that a build, a boot and a proof work
anywhere. They prove the wiring, not that the real programs work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from podvm_builder.errors import InputError
from podvm_builder.guest.files import template_files
from podvm_builder.model.components import DOCUMENT_MODE, PROGRAM_MODE, GuestComponents
from podvm_builder.model.manifest import ComponentRecord
from podvm_builder.model.recipe import RecipeFile, RecipeTree

SELFTEST = "selftest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A program of the guest."""

    name: str
    """As its source and the folder of ``--components`` name it."""
    path: str
    """In the image, without the leading slash."""


COMPONENTS = tuple(
    Component(name=name, path=f"usr/local/bin/{name}")
    for name in (
        "kata-agent",
        "attestation-agent",
        "confidential-data-hub",
        "api-server-rest",
        "agent-protocol-forwarder",
        "process-user-data",
    )
)


def selftest() -> RecipeTree:
    """Return the selftest set: path in the image, without the leading slash, to file."""
    return {
        f"usr/local/{'lib' if document else 'bin'}/{name}": RecipeFile(
            data=data, mode=DOCUMENT_MODE if document else PROGRAM_MODE
        )
        for name, data in template_files(SELFTEST).items()
        for document in [name.endswith(".sh")]
    }


def place_components(names: Iterable[str], *, folder: str) -> dict[str, str]:
    """Return where the files of a components folder go: file name to path in the image.

    Args:
        names: the names of the files in the folder.
        folder: how the user named the folder, for messages.

    Raises:
        InputError: a component is missing, or a file is none of the components.
    """
    known = {component.name: component.path for component in COMPONENTS}
    given = sorted(names)
    if unknown := [name for name in given if name not in known]:
        raise InputError(
            f"`{unknown[0]}` in `{folder}` is not a guest component",
            code="PVB401",
            hint=f"the components are {', '.join(known)}",
        )
    if missing := [name for name in known if name not in given]:
        raise InputError(
            f"`{folder}` lacks the guest component `{missing[0]}`",
            code="PVB402",
            hint=f"put all of {', '.join(known)} there, or build with `--components selftest`",
        )
    return {name: known[name] for name in given}


def unlocked_components(files: RecipeTree, *, source: str) -> GuestComponents:
    """Return components that no lock names: the selftest set, those of a folder, or none.

    Args:
        files: path in the image, without the leading slash, to file.
        source: ``selftest``, ``none``, or the folder's path.
    """
    names = {component.path: component.name for component in COMPONENTS}
    own = source == SELFTEST
    return GuestComponents(
        identity=files,
        files=files,
        records=tuple(
            ComponentRecord(
                name=names.get(path, path.rsplit("/", 1)[-1]),
                path=f"/{path}",
                sha256=(digest := hashlib.sha256(file.data).hexdigest()),
                source=source,
                digest=f"sha256:{digest}",
                licence="Apache-2.0" if own else "NOASSERTION",
                verification="selftest" if own else "unverified",
                note="a stand-in of podvm-build" if own else "taken from a folder as it was",
            )
            for path, file in sorted(files.items())
        ),
    )
