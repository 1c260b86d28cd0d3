"""The firmware that a machine is booted with: OVMF of the tools tree by the state of secure boot, or another one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from podvm_builder.boot.machine import Machine
from podvm_builder.errors import FormatError, InputError, Lacking
from podvm_builder.formats.ovmf import HashTableArea, hash_table_area, read_table
from podvm_builder.tools.files import sha256_file, write_atomic
from podvm_builder.tools.firmware import NotAtHand, get_firmware
from podvm_builder.tools.mirror import find_mirrors
from podvm_builder.tools.process import Say
from podvm_builder.tools.sandbox import Bind
from podvm_builder.tools.tree import ToolsTree

PLAIN = "/usr/share/OVMF/OVMF_CODE_4M.fd"
"""In the tools tree: Debian's build without secure boot."""
SECURE = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
"""The build with it; it needs system management mode."""
VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"
"""The empty variable store of both."""

_INSIDE = "/mnt/firmware.fd"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootFirmware:
    """Firmware as a machine gets it."""

    path: str
    """As QEMU sees it."""
    sha256: str
    """Hex, of the code."""
    variables: Path | None
    """Variable store to start from, on the host; None for firmware that is one image."""
    binds: tuple[Bind, ...] = ()
    """What QEMU needs to see it."""
    hash_table: HashTableArea | None = None
    """Where it wants the kernel hash table; it then refuses a kernel that does not match."""

    @property
    def flash(self) -> bool:
        """Whether it runs from flash with a variable store beside it."""
        return self.variables is not None


def plain_firmware(tree: ToolsTree, machine: Machine) -> BootFirmware:
    """Return the tree's OVMF for a state of secure boot.

    Raises:
        Lacking: PVB313, the tree does not have it.
    """
    path = PLAIN if machine.secure_boot == "absent" else SECURE
    for name in (path, VARIABLES):
        if not (tree.root / name[1:]).is_file():
            raise Lacking(f"`{name}` is not in the tools tree", code="PVB313", hint="podvm-build tools remove")
    return BootFirmware(path=path, sha256=sha256_file(tree.root / path[1:]), variables=tree.root / VARIABLES[1:])


def named_firmware(
    name: str, *, tree: ToolsTree, cache: Path, folder: Path, mirror: str | None, say: Say
) -> BootFirmware:
    """Return a firmware image by its name in the catalogue or by the path of a file.

    Args:
        name: as :func:`podvm_builder.tools.firmware.get_firmware` takes it.
        tree: the tools tree.
        cache: the cache's folder.
        folder: where a copy of it may lie while it is used.
        mirror: URI of the Debian archive, where the user gave one.
        say: takes a line where something is fetched.

    Raises:
        InputError: PVB320, a file that cannot be read; PVB323 and PVB220 to 222, it is no firmware.
        Lacking: PVB515, it is neither in the cache nor to be had.
    """
    found = get_firmware(name, tree=tree, cache=cache, mirrors=find_mirrors(mirror, suite="sid"), progress=say)
    if isinstance(found, NotAtHand):
        raise Lacking(f"firmware `{name}` is not at hand: {found.reason}", code="PVB515")
    try:
        area = hash_table_area(read_table(found.data))
    except FormatError as error:
        raise InputError(f"`{name}`: {error.message}", code=error.code, hint=error.hint) from error
    path = folder / "firmware.fd"
    write_atomic(path, found.data)
    return BootFirmware(
        path=_INSIDE,
        sha256=found.sha256,
        variables=None,
        binds=(Bind(host=path, inside=_INSIDE, read_only=True),),
        hash_table=area,
    )
