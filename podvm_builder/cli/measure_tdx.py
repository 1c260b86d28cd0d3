"""``podvm-build measure tdx``: MRTD of a firmware, and RTMR 0 to 3 of what boots under it."""

from __future__ import annotations

from pathlib import Path

import click

from podvm_builder.catalog.ovmf import LAYOUTS
from podvm_builder.cli.common import explain_option, format_option
from podvm_builder.cli.input_files import named, read_file
from podvm_builder.cli.measure_output import print_set
from podvm_builder.cli.platform_inputs import platform_option, read_profile
from podvm_builder.formats.ovmf import MAX_IMAGE
from podvm_builder.measure.tdx import ORDERS, SINGLE_PASS
from podvm_builder.measure.tdx_boot import KERNEL_HEADERS
from podvm_builder.measure.tdx_firmware import read_firmware
from podvm_builder.measure.tdx_machine import parse_memory
from podvm_builder.measure.tdx_measure import measure_tdx
from podvm_builder.model.plan import BOOT_PATHS, SECURE_BOOT

_PATH = click.Path(path_type=Path)
_MAX_VCPUS = 4096


@click.command()
@click.option("--firmware", type=_PATH, required=True, metavar="FILE", help="OVMF image with TDX support.")
@click.option(
    "--mrtd-order",
    "orders",
    type=click.Choice(tuple(ORDERS)),
    multiple=True,
    default=(SINGLE_PASS,),
    show_default=True,
    help="Order in which the VMM adds and measures pages; repeatable (`podvm-build explain PVB235`).",
)
@click.option(
    "--memory", multiple=True, metavar="SIZE", help="Guest memory as QEMU's -m takes it, e.g. 2048M; repeatable."
)
@click.option("--vcpus", type=click.IntRange(1, _MAX_VCPUS), metavar="N", help="vCPUs of the machine.")
@click.option("--acpi-tables", type=_PATH, metavar="FILE", help="fw_cfg file etc/acpi/tables of the machine.")
@click.option(
    "--acpi-loader", type=_PATH, metavar="FILE", help="etc/table-loader; without it, derived from the tables."
)
@click.option("--acpi-rsdp", type=_PATH, metavar="FILE", help="etc/acpi/rsdp; without it, derived from the tables.")
@click.option(
    "--acpi-from-qemu",
    "from_qemu",
    is_flag=True,
    help="Let a QEMU of the tools tree make the tables: the firmware runs in emulation, for a second or two.",
)
@click.option("--qemu", metavar="PROGRAM", help="With --acpi-from-qemu: this host's QEMU instead of the tools tree's.")
@click.option(
    "--qemu-arg",
    "qemu_arguments",
    multiple=True,
    metavar="TEXT",
    help="With --acpi-from-qemu: arguments for the machine's devices; `-machine` replaces the default one. Repeatable.",
)
@click.option("--cpu", metavar="MODEL", help="With --acpi-from-qemu: CPU model.  [default: qemu64]")
@click.option(
    "--phys-bits",
    type=click.IntRange(36, 52),
    metavar="N",
    help="With --acpi-from-qemu: physical address bits of the guest's CPU.  [default: 46]",
)
@click.option("--image", type=_PATH, metavar="FILE", help="Raw or qcow2 disk image that is booted.")
@click.option("--uki", type=_PATH, metavar="FILE", help="Unified kernel image that is booted.")
@click.option("--kernel", type=_PATH, metavar="FILE", help="Kernel or UKI that QEMU hands over.")
@click.option("--initrd", type=_PATH, metavar="FILE", help="Initrd that QEMU hands over with the kernel.")
@click.option("--append", metavar="TEXT", help="Command line exactly as given to QEMU.")
@click.option(
    "--kernel-header",
    type=click.Choice(tuple(KERNEL_HEADERS)),
    help="Whether firmware gets the kernel as it is, or with the header as older QEMUs fill it in (see PVB213).",
)
@click.option(
    "--boot",
    type=click.Choice(BOOT_PATHS),
    help="Firmware starts the UKI from the disk, or QEMU hands it over.  [default: disk with --image, else direct]",
)
@click.option(
    "--secure-boot",
    type=click.Choice(SECURE_BOOT),
    help="Not compiled into the firmware, compiled in but off, or on.  [default: what the firmware says]",
)
@click.option("--vars", "variables", type=_PATH, metavar="FILE", help="Variable store in the place of the firmware's.")
@click.option(
    "--ovmf-layout",
    type=click.Choice(tuple(LAYOUTS)),
    help="What the firmware measures, and in which order, by its edk2 release.  [default: that of a known build]",
)
@platform_option
@click.option("--cache", type=_PATH, metavar="DIR", help="With --acpi-from-qemu: cache that holds the tools tree.")
@explain_option
@format_option
def command(
    *,
    firmware: Path,
    orders: tuple[str, ...],
    memory: tuple[str, ...],
    vcpus: int | None,
    acpi_tables: Path | None,
    acpi_loader: Path | None,
    acpi_rsdp: Path | None,
    from_qemu: bool,
    qemu: str | None,
    qemu_arguments: tuple[str, ...],
    cpu: str | None,
    phys_bits: int | None,
    image: Path | None,
    uki: Path | None,
    kernel: Path | None,
    initrd: Path | None,
    append: str | None,
    kernel_header: str | None,
    boot: str | None,
    secure_boot: str | None,
    variables: Path | None,
    ovmf_layout: str | None,
    platform: Path | None,
    cache: Path | None,
    output_format: str,
) -> None:
    """Predict MRTD, and RTMR 0 to 3 of what boots, each with its value or the reason why there is none.

    MRTD depends on the firmware and the page order alone. RTMR 0 covers the firmware's variables and the machine: give
    its memory size and ACPI tables, or a profile that `evidence learn` made of the log (CCEL) of such a machine. RTMR 1
    and 2 cover what is booted. What the firmware measures, and in which order, differs by edk2 release; builds that are
    known by their digest need no `--ovmf-layout`.
    """
    from podvm_builder.cli.tdx_inputs import Booted, read_boot
    from podvm_builder.cli.tdx_machines import Machines, read_machines, refuse_machines

    booted = Booted(
        image=image, uki=uki, kernel=kernel, initrd=initrd, append=append, boot=boot, kernel_header=kernel_header
    )
    machines = Machines(
        memory=tuple(dict.fromkeys(map(parse_memory, memory))),
        vcpus=vcpus,
        acpi_tables=acpi_tables,
        acpi_loader=acpi_loader,
        acpi_rsdp=acpi_rsdp,
        from_qemu=from_qemu,
        qemu=qemu,
        qemu_arguments=qemu_arguments,
        cpu=cpu,
        phys_bits=phys_bits,
        cache=cache,
    )
    data = read_file(firmware, limit=MAX_IMAGE)
    store = None if variables is None else read_file(variables, limit=MAX_IMAGE)
    with named(firmware):
        known = read_firmware(data, layout=ovmf_layout, variables=store)
    profile = read_profile(platform)
    if profile is not None:
        refuse_machines(machines, layout=ovmf_layout)
        secure_boot = secure_boot or profile.secure_boot
    found = read_boot(booted, known, asked=secure_boot, memory=machines.memory)
    measured = measure_tdx(known, found, machines=read_machines(machines, known), orders=orders, platform=profile)
    print_set(measured, output_format)
