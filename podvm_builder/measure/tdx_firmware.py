"""The firmware of a trust domain as far as run-time registers depend on it: its layout, its variables, secure boot."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from podvm_builder.catalog.ovmf import BUILDS, CODE, Build, Layout, find_layout
from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.tdvf import TdxSection, TdxType
from podvm_builder.formats.varstore import GLOBAL, VariableStore, parse_variable_store
from podvm_builder.measure.secure_boot import Keys
from podvm_builder.measure.tdx import read_sections


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxFirmware:
    """A firmware image, and what is known of it."""

    image: bytes
    """As it runs: with the variables that were given, if any."""
    sections: tuple[TdxSection, ...]
    name: str
    """``sha256:`` and the digest of :attr:`image`, hex."""
    layout: Layout | None
    layout_reason: str
    """Where there is no layout: why."""
    build: Build | None
    """None for a build that is not known."""
    store: VariableStore | None
    store_reason: str
    """Where the variables cannot be read: why."""

    @property
    def silent(self) -> str | None:
        """Why this build measures nothing that a trust domain boots, None where it does."""
        return self.build.caution if self.build is not None and self.build.layout is None else None

    @property
    def has_entries(self) -> bool:
        """Whether the variables hold boot entries, so that the firmware does not start with its own alone."""
        return self.store is not None and any(
            vendor == GLOBAL and name.startswith("Boot") for vendor, name in self.store.variables
        )

    @property
    def volume(self) -> bytes | None:
        """The volume of variables, which firmware measures whole; None where there is none."""
        found = _volume(self.image, self.sections)
        return None if found is None else found[1]

    @property
    def keys(self) -> Keys | None:
        """The secure-boot variables, None where they cannot be read.

        Raises:
            FormatError: PVB250, one of them is no signature list.
        """
        return None if self.store is None else Keys.from_store(self.store)


def read_firmware(image: bytes, *, layout: str | None = None, variables: bytes | None = None) -> TdxFirmware:
    """Read a firmware for TDX.

    Args:
        image: the file.
        layout: name of the layout to predict for; without it, that of a known build.
        variables: a variable store that stands in the image in the place of its own.

    Raises:
        FormatError: not usable firmware, or none for TDX; a variable store that was given and cannot be read (PVB251).
        InputError: PVB215, no such layout, or a variable store of another size than the firmware's.
    """
    sections = read_sections(image)
    digest = hashlib.sha256(image).hexdigest()
    build = BUILDS.get(digest)
    known = layout if layout is not None else build.layout if build is not None else None
    chosen = None if known is None else find_layout(known)
    if variables is not None:
        image = _with_variables(image, sections, variables)
        digest = hashlib.sha256(image).hexdigest()
    store, why = _read_store(image, sections)
    if variables is not None and store is None:
        raise FormatError(why, code="PVB251")
    return TdxFirmware(
        image=image,
        sections=sections,
        name=f"sha256:{digest}",
        layout=chosen,
        layout_reason=(
            f"firmware sha256:{digest} is not known here, and in which order it measures depends on its edk2 release: "
            "`--ovmf-layout` predicts for one"
        ),
        build=build,
        store=store,
        store_reason=why,
    )


def secure_boot_state(firmware: TdxFirmware, asked: str | None) -> str | None:
    """Return the state of secure boot, None where it neither follows from the firmware nor was asked for.

    Args:
        firmware: whose variables say whether keys are enrolled.
        asked: ``absent``, ``off``, ``on``, or None.

    Raises:
        InputError: PVB246, a state that this firmware would not be in.
    """
    compiled = None if firmware.build is None else firmware.build.secure_boot
    enforced = firmware.store is not None and firmware.store.secure_boot
    if compiled is False:
        found = "absent"
    elif enforced:
        found = "on"
    elif compiled:
        found = "off"
    else:
        found = None
    if asked is None:
        return found
    if (found is not None and asked != found) or (found is None and asked == "on"):
        said = f"is `{found}`" if found is not None else "is not `on`: no platform key is enrolled"
        raise InputError(
            f"`--secure-boot {asked}`, and by the firmware's variables it {said}",
            code="PVB246",
            hint="leave out `--secure-boot`, or give the variables that the machine has with `--vars`",
        )
    return asked


def _volume(image: bytes, sections: tuple[TdxSection, ...]) -> tuple[int, bytes] | None:
    for section in sections:
        if section.kind is TdxType.CFV:
            start = section.data_offset
            return start, image[start : start + section.data_size]
    return None


def _with_variables(image: bytes, sections: tuple[TdxSection, ...], variables: bytes) -> bytes:
    volume = _volume(image, sections)
    if volume is None or len(volume[1]) != len(variables):
        size = "none" if volume is None else f"one of {len(volume[1])} bytes"
        raise InputError(f"a variable store of {len(variables)} bytes, where the firmware has {size}", code=CODE)
    start = volume[0]
    return image[:start] + variables + image[start + len(variables) :]


def _read_store(image: bytes, sections: tuple[TdxSection, ...]) -> tuple[VariableStore | None, str]:
    volume = _volume(image, sections)
    if volume is None:
        return None, "the firmware has no volume for its variables"
    try:
        return parse_variable_store(volume[1]), ""
    except FormatError as error:
        return None, error.message
