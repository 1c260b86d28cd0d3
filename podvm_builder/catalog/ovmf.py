"""OVMF builds by what they measure in a TDX guest: layouts as data, and the builds that are known to have them.

A plain module, so that measuring loads it in a millisecond. A layout is what one span of edk2 releases extends the
run-time registers with, and in which order; a build is named by the SHA-256 of its file. An unknown build gets no
layout, and no value that depends on it, unless the caller asks for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from podvm_builder.errors import InputError

CODE = "PVB215"


class Layout(NamedTuple):
    """What a span of edk2 releases measures in a TDX guest."""

    name: str
    releases: str
    separator: int
    """RTMR that the separator at ReadyToBoot extends; RTMR 0 has one after the secure-boot variables besides."""
    settings: tuple[tuple[str, int], ...]
    """fw_cfg items that are measured behind the variables' volume, in order, those that exist; name and size in bytes,
    0 for any. ``BootMenu`` is item 0x0E, a u16, and always there."""
    smbios: bool
    """SMBIOS tables are measured behind the ACPI tables."""
    direct_entries: bool
    """A boot with ``-kernel`` has one boot entry, that of UiApp; otherwise its entries differ by build."""
    source: str
    caution: str | None = None
    """What a reader of values for this layout must know."""


BOOT_MENU = "BootMenu"

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            name="edk2-before-202411",
            releases="up to edk2-stable202408",
            separator=0,
            settings=(),
            smbios=False,
            direct_entries=True,
            source="logs of two TDX guests (a direct kernel boot, and shim with GRUB); edk2 before efaf893",
        ),
        Layout(
            name="edk2-202411",
            releases="edk2-stable202411 and 202502",
            separator=1,
            settings=(),
            smbios=False,
            direct_entries=True,
            source="edk2 efaf893; RTMR 0 of recorded guests; the log of a guest on Google Compute Engine",
        ),
        Layout(
            name="edk2-202505",
            releases="edk2-stable202505 and newer",
            separator=1,
            settings=(
                ("etc/extra-pci-roots", 8),
                (BOOT_MENU, 2),
                ("etc/boot-menu-wait", 2),
                ("etc/reserved-memory-end", 8),
                ("opt/ovmf/X-PciMmio64Mb", 0),
                ("bootorder", 0),
            ),
            smbios=True,
            direct_entries=False,
            source="edk2 2eac71a1e, cd76265f1 and 9d9e3a2ba; from the source and others' logs",
            caution="layout edk2-202505: from the specification, not yet seen on hardware",
        ),
    )
}
"""By name, oldest first."""


class Build(NamedTuple):
    """One build of OVMF."""

    version: str
    layout: str | None
    """A name in :data:`LAYOUTS`; None where the build does not measure in a TDX guest."""
    secure_boot: bool
    """Secure boot is compiled in."""
    reads_kernel_file: bool
    """A direct boot takes the kernel from fw_cfg file ``etc/boot/kernel`` where QEMU (10.0 and newer) has it: as it is,
    and not with the header as QEMU fills it in."""
    caution: str | None = None


BUILDS: Mapping[str, Build] = {
    "14954040cc754ade0c625ac3470ea46d4c14318b5b1396de4ef77090203d76db": Build(
        version="Debian 2025.02-8+deb13u1, OVMF.fd",
        layout="edk2-202411",
        secure_boot=False,
        reads_kernel_file=True,
    ),
    "3e4fd0b3fe3b2dbe481c3d9e99418a034174f26cbe1f55aa212b0f18c12d2d6f": Build(
        version="Debian 2026.08+ds-2, OVMF.amdsev.fd",
        layout=None,
        secure_boot=False,
        reads_kernel_file=True,
        caution="this build of OVMF is made for SEV: it has no driver that measures what a TDX guest boots",
    ),
}
"""By SHA-256 of the file, hex."""

CLOUD_LAYOUTS: Mapping[str, str] = {"gce": "edk2-202411"}
"""Layout of the firmware of a cloud that does not give its firmware out, by VMM, as logs from there show it."""


def find_layout(name: str) -> Layout:
    """Return a layout by its name.

    Raises:
        InputError: no such layout; the message lists those there are.
    """
    if name not in LAYOUTS:
        raise InputError(f"unknown OVMF layout `{name}`", code=CODE, hint=f"known are {', '.join(LAYOUTS)}")
    return LAYOUTS[name]
