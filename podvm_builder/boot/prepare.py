"""What a boot needs before its first attempt: firmware, variable store, keys, a signed copy, the kernel's hashes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from podvm_builder.boot.firmware import VARIABLES, BootFirmware, named_firmware, plain_firmware
from podvm_builder.boot.folder import BuildOutput
from podvm_builder.boot.keys import SigningKeys
from podvm_builder.boot.machine import Machine
from podvm_builder.errors import InputError
from podvm_builder.formats.kernel_hashes import KernelHashes, encode_kernel_hashes
from podvm_builder.formats.varstore import parse_variable_store
from podvm_builder.measure.boot_log import DIRECT
from podvm_builder.measure.secure_boot import Keys
from podvm_builder.model.layout import RAW, UKI
from podvm_builder.tools.files import sha256_file
from podvm_builder.tools.process import Say
from podvm_builder.tools.tree import ToolsTree


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything that the attempts of one boot have in common."""

    image: Path
    """The disk to boot: the build's, or with secure boot on a signed copy of it."""
    image_sha256: str
    """Hex, of the build's disk as it is."""
    genuine: bool
    """The build's disk is the one that its manifest records."""
    kernel: Path | None
    """The UKI that QEMU hands over: the build's, or with secure boot on a signed copy of it."""
    hashes: bytes | None
    """The kernel hash table for firmware that asks for one."""
    firmware: BootFirmware
    keys: Keys | None
    """Secure-boot variables, where secure boot is on."""
    notes: tuple[str, ...]


def check(machine: Machine, firmware: str | None) -> None:
    """Refuse a machine that cannot be booted, before anything is made for it.

    Raises:
        InputError: PVB501.
    """
    if machine.secure_boot == "absent":
        return
    if firmware is not None:
        raise InputError(
            f"`--firmware {firmware}` has no variable store, so that its secure boot cannot be `{machine.secure_boot}`",
            code="PVB501",
            hint="leave out `--firmware`",
        )


def prepare(
    output: BuildOutput,
    machine: Machine,
    *,
    tree: ToolsTree,
    cache: Path,
    folder: Path,
    firmware: str | None,
    mirror: str | None,
    say: Say,
) -> Prepared:
    """Make what the machine needs, in a folder that the caller removes after the boot.

    Args:
        output: the build's.
        machine: one that :func:`check` lets pass.
        tree: the tools tree.
        cache: the cache's folder.
        folder: an empty folder.
        firmware: another firmware than the tools tree's, by name or path.
        mirror: URI of the Debian archive, where the user gave one.
        say: takes a line per step.

    Raises:
        InputError: PVB500, there is no UKI for a direct boot; PVB320, PVB323 or PVB220-222 for a firmware.
        Lacking: PVB313 or PVB515, a firmware is not at hand.
        BuildFailed: PVB516, keys or signatures could not be made.
    """
    digest = sha256_file(output.image)
    record = output.manifest.files.get(RAW)
    notes = []
    if record is not None and record.sha256 != digest:
        notes.append(f"{RAW} is not the file that the manifest records (sha256 {record.sha256})")
    if firmware is None:
        found = plain_firmware(tree, machine)
    else:
        found = named_firmware(firmware, tree=tree, cache=cache, folder=folder, mirror=mirror, say=say)
    kernel = hashes = None
    if machine.boot == DIRECT:
        kernel = output.kernel
        wanted = output.manifest.files.get(UKI)
        if not kernel.is_file() or wanted is None:
            raise InputError(f"`{kernel.parent}` has no `{UKI}`", code="PVB500", hint="build the target again")
        if sha256_file(kernel) != wanted.sha256:
            notes.append(f"{UKI} is not the file that the manifest records (sha256 {wanted.sha256})")
        # the hashes are those that the launch digest covers, whatever lies in the file now
        hashes = encode_kernel_hashes(KernelHashes(kernel=bytes.fromhex(wanted.sha256)))
    image, keys = output.image, None
    if machine.secure_boot == "on":
        say("making secure-boot keys, and a signed copy of the image")
        secrets = folder / "keys"
        secrets.mkdir(mode=0o700)
        signing = SigningKeys(tree, secrets)
        store = signing.enrol(VARIABLES)
        image = signing.sign_image(output.image)
        kernel = None if kernel is None else signing.sign_program(kernel)
        keys = Keys.from_store(parse_variable_store(store.read_bytes()))
        found = replace(found, variables=store)
    return Prepared(
        image=image,
        image_sha256=digest,
        genuine=record is not None and record.sha256 == digest,
        kernel=kernel,
        hashes=hashes,
        firmware=found,
        keys=keys,
        notes=tuple(notes),
    )
