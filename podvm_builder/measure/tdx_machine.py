"""What the firmware of a trust domain measures of its machine, into RTMR 0: memory, variables, tables, boot entries.

The order is that of edk2's ``TdxHelperLib`` and ``TdTcg2Dxe``; what differs between releases is data
(:mod:`podvm_builder.catalog.ovmf`). Specifications: TCG PC Client Platform Firmware Profile 1.06 §10.4 for what the
digest of each event covers; TDX Virtual Firmware Design Guide §8.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from podvm_builder.catalog.ovmf import Layout
from podvm_builder.errors import InputError
from podvm_builder.formats.acpi import AcpiFiles
from podvm_builder.formats.digests import digest_bytes
from podvm_builder.formats.guid import guid_bytes
from podvm_builder.formats.smbios import measured_table
from podvm_builder.formats.td_hob import CODE, td_hob
from podvm_builder.formats.tdvf import TdxSection, TdxType
from podvm_builder.measure.rtmr import ALGORITHM
from podvm_builder.model.event import Event

NO_MEMORY = "covers the memory map: give the machine's memory size"
NO_ACPI = (
    "covers the machine's ACPI tables, which the VMM makes: give them, or let a QEMU of the machine's version make them"
)
NO_SETTINGS = (
    "firmware of this layout measures fw_cfg settings, SMBIOS tables and boot entries besides, as QEMU makes them"
)
NO_ENTRIES = "covers the boot entries, which name the disk by its place in the machine"

_SUFFIXES = {"K": 10, "M": 20, "G": 30, "T": 40, "": 20}
_SIZE = re.compile(r"([0-9]{1,15})([KMGT]?)", re.IGNORECASE)
_AUTHORITY = "EV_EFI_VARIABLE_AUTHORITY"
_CALL = "EV_EFI_ACTION"

# Boot#### of the firmware's own menu (UEFI 2.10 §3.1.3): active, hidden, of category application; the device path names
# a firmware volume and the file UiApp in it
_UI_APP = (
    struct.pack("<IH", 0x109, 0x2C)
    + "UiApp\0".encode("utf-16-le")
    + struct.pack("<BBH", 4, 7, 20)
    + guid_bytes("7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1")
    + struct.pack("<BBH", 4, 6, 20)
    + guid_bytes("462caa21-7614-4503-836e-8ab6f4662331")
    + struct.pack("<BBH", 0x7F, 0xFF, 4)
)
BootEntries = Mapping[str, bytes]
"""``BootOrder`` and the ``Boot####`` that it names, by name."""
UI_APP_ALONE: BootEntries = {"BootOrder": bytes(2), "Boot0000": _UI_APP}
"""What a boot with ``-kernel`` finds where the firmware makes entries for devices only after that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxMachine:
    """A machine as its firmware measures it."""

    memory: int
    """Bytes."""
    acpi: AcpiFiles | None = None
    settings: Mapping[str, bytes] | None = None
    """fw_cfg items by name, as far as they exist; None where nobody looked."""
    smbios: bytes | None = None
    """The structure table as the firmware publishes it, its own structures included."""
    entries: BootEntries | None = None
    """The boot entries when the first boot option is called; None where they are not known."""
    variant: Mapping[str, str | int | bool] = field(default_factory=dict)
    """Further inputs that this came from: vCPUs, QEMU's version, CPU model …"""


def parse_memory(text: str) -> int:
    """Return the bytes of a size as QEMU's ``-m`` takes it: a number with K, M, G or T, MiB without.

    Raises:
        InputError: PVB214, not such a size.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InputError(
            f"`{text[:40]}` is not a memory size", code=CODE, hint="write it as QEMU's -m takes it: 2048M, 16G"
        )
    return int(match[1]) << _SUFFIXES[match[2].upper()]


def unknown_machine(machine: TdxMachine | None, layout: Layout, *, direct: bool) -> str | None:
    """Return what RTMR 0 lacks to be predicted, or None if nothing."""
    if machine is None:
        return NO_MEMORY
    if machine.acpi is None:
        return NO_ACPI
    if (layout.settings and machine.settings is None) or (layout.smbios and machine.smbios is None):
        return NO_SETTINGS
    if machine.entries is None and not (direct and layout.direct_entries):
        return NO_SETTINGS if direct else NO_ENTRIES
    return None


def machine_log(
    firmware: bytes,
    sections: Sequence[TdxSection],
    machine: TdxMachine,
    layout: Layout,
    runtime: Sequence[Event],
) -> tuple[Event, ...]:
    """Return the events of RTMR 0, in order.

    Args:
        firmware: the image; its variables' volume is measured.
        sections: of its TDX metadata.
        machine: of which nothing is unknown (:func:`unknown_machine`).
        layout: the firmware's.
        runtime: the log of the boot (:func:`podvm_builder.measure.rtmr.runtime_log`): it holds the secure-boot
            variables and the entries of db that let programs pass, and says what comes before the boot option's call.

    Raises:
        InputError: PVB214, a memory size that QEMU does not take, or too little for the firmware.
        FormatError: the TD HOB does not fit (PVB225), or the SMBIOS table is damaged (PVB212).
    """
    assert machine.acpi is not None  # noqa: S101 - the caller has asked
    call = next(index for index, event in enumerate(runtime) if event.kind == _CALL)
    before = [event for event in runtime[:call] if event.pcr == 7]
    after = [event for event in runtime[call:] if event.pcr in (1, 7)]
    variables = [event for event in before if event.kind != _AUTHORITY]
    return (
        *_memory_events(firmware, sections, machine),
        *_setting_events(layout, machine.settings or {}),
        *variables,
        *_acpi_events(machine.acpi),
        *(event for event in before if event.kind == _AUTHORITY),
        *_smbios_events(layout, machine.smbios),
        *_entry_events(UI_APP_ALONE if machine.entries is None else machine.entries),
        *after,
    )


def _memory_events(firmware: bytes, sections: Sequence[TdxSection], machine: TdxMachine) -> Iterator[Event]:
    yield _event("EV_EFI_HANDOFF_TABLES2", td_hob(sections, machine.memory), "TD HOB: the memory map", b"\tTdxTable\0")
    for section in sections:
        if section.kind is TdxType.CFV:
            volume = firmware[section.data_offset : section.data_offset + section.data_size]
            yield _event("EV_EFI_PLATFORM_FIRMWARE_BLOB2", volume, "volume of the firmware's variables")


def _setting_events(layout: Layout, settings: Mapping[str, bytes]) -> Iterator[Event]:
    for name, size in layout.settings:
        data = settings.get(name)
        if data is not None and size in (0, len(data)):
            yield _event("EV_PLATFORM_CONFIG_FLAGS", data, f"fw_cfg {name}", b"QEMU FW CFG")


def _acpi_events(acpi: AcpiFiles) -> Iterator[Event]:
    for data, name in (
        (acpi.loader, "linking commands"),
        (acpi.rsdp, "root pointer"),
        (acpi.tables, "tables"),
    ):
        yield _event("EV_PLATFORM_CONFIG_FLAGS", data, f"ACPI {name}", b"ACPI DATA")


def _smbios_events(layout: Layout, table: bytes | None) -> Iterator[Event]:
    if layout.smbios and table is not None:
        yield _event("EV_EFI_HANDOFF_TABLES", measured_table(table), "SMBIOS tables, reduced")


def _entry_events(entries: BootEntries) -> Iterator[Event]:
    """Yield BootOrder, and each entry that it names and that is there; of a variable its data alone is measured."""
    order = entries.get("BootOrder", b"")
    if order:
        yield _event("EV_EFI_VARIABLE_BOOT", order, "variable BootOrder")
    for (number,) in struct.iter_unpack("<H", order[: len(order) & ~1]):
        name = f"Boot{number:04X}"
        if name in entries:
            yield _event("EV_EFI_VARIABLE_BOOT", entries[name], f"variable {name}")


def _event(kind: str, measured: bytes, subject: str, data: bytes = b"") -> Event:
    return Event(
        pcr=1, kind=kind, digests=digest_bytes(measured, (ALGORITHM,)), subject=subject, source="firmware", data=data
    )
