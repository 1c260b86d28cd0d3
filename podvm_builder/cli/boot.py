"""``podvm-build boot``: start a built image, and compare the TPM with the prediction."""

from __future__ import annotations

import re
from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.place import cache_option, mirror_option, say
from podvm_builder.errors import Finding
from podvm_builder.measure.boot_log import DISK
from podvm_builder.model.boot import BootResult, Outcome
from podvm_builder.model.plan import BOOT_PATHS

_CODES = {
    Outcome.TIMEOUT: "PVB510",
    Outcome.STOPPED: "PVB511",
    Outcome.PANIC: "PVB511",
    Outcome.OOPS: "PVB511",
    Outcome.REFUSED: "PVB513",
    Outcome.EMULATOR: "PVB512",
    Outcome.TPM: "PVB514",
}
_MIN_MEMORY, _MAX_MEMORY = 512, 1 << 20


def _memory(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    """Read a memory size as QEMU writes it, a number of MiB or one with M or G; return MiB."""
    match = re.fullmatch(r"([0-9]{1,7})([MG]?)", value)
    mib = int(match[1]) * (1024 if match[2] == "G" else 1) if match else 0
    if not _MIN_MEMORY <= mib <= _MAX_MEMORY:
        raise click.BadParameter(f"`{value}` is not a memory size from {_MIN_MEMORY}M, e.g. 2048M or 4G")
    return mib


def _fw_cfg(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Split names and texts; QEMU takes names of printable ASCII with at most 55 bytes."""
    pairs = []
    for value in values:
        name, separator, text = value.partition("=")
        if not separator or re.fullmatch(r"opt/[!-~]{1,51}", name) is None:
            raise click.BadParameter(f"`{value}` is not NAME=TEXT with a name below `opt/`")
        pairs.append((name, text))
    return tuple(pairs)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--smp", "vcpus", type=click.IntRange(1, 64), default=2, show_default=True, help="Number of vCPUs.")
@click.option(
    "--memory", callback=_memory, default="2048M", show_default=True, metavar="SIZE", help="Memory, e.g. 2048M or 4G."
)
@click.option(
    "--timeout",
    type=click.FloatRange(1, 86400),
    default=300,
    show_default=True,
    help="Seconds until the forwarder must have answered.",
)
@click.option(
    "--secure-boot",
    type=click.Choice(["absent", "off", "on"]),
    default="absent",
    show_default=True,
    help="State of the firmware's secure boot.",
)
@click.option(
    "--boot",
    "path",
    type=click.Choice(BOOT_PATHS),
    default=DISK,
    show_default=True,
    help="The firmware starts the UKI from the disk, or QEMU hands image.efi over.",
)
@click.option(
    "--disk",
    type=click.Choice(["virtio", "nvme", "sata"]),
    default="virtio",
    show_default=True,
    help="What the disk is attached to.",
)
@click.option(
    "--firmware",
    metavar="NAME|FILE",
    help="Another firmware image, e.g. ovmf-amdsev, which checks the kernel hashes of a direct boot.",
)
@click.option(
    "--smbios",
    multiple=True,
    metavar="TEXT",
    help="OEM string (SMBIOS type 11) from the host, to see what it changes; repeatable.",
)
@click.option(
    "--fw-cfg",
    multiple=True,
    callback=_fw_cfg,
    metavar="NAME=TEXT",
    help="fw_cfg file from the host, to see what it changes; repeatable.",
)
@mirror_option
@cache_option
@format_option
def command(
    *,
    folder: Path,
    vcpus: int,
    memory: int,
    timeout: float,
    secure_boot: str,
    path: str,
    disk: str,
    firmware: str | None,
    smbios: tuple[str, ...],
    fw_cfg: tuple[tuple[str, str], ...],
    mirror: str | None,
    cache: Path | None,
    output_format: str,
) -> None:
    """Boot a built image, and compare the TPM with the prediction.

    DIR holds a build's image.raw, manifest.json and measurements.json; the image is not written to. QEMU, OVMF and
    a software TPM come from the tools tree, with KVM where it works and emulation elsewhere. With secure boot on, the
    keys are made for this boot and a copy of the image is signed. DIR/boot/ gets the console (serial.log), the
    result (result.json) and a picture of where the time went (timeline.svg). Exits 1 if the image's units cannot start
    its agents, if it does not come up, or if a predicted register differs.
    """
    from podvm_builder.boot.folder import read_folder, write_result
    from podvm_builder.boot.machine import Disk, Machine
    from podvm_builder.boot.prepare import check
    from podvm_builder.boot.run import boot
    from podvm_builder.report.boot import boot_to_json, render_boot
    from podvm_builder.report.boot_timeline import timeline_svg
    from podvm_builder.tools.cache import open_cache
    from podvm_builder.tools.tree import ensure_tree

    machine = Machine(
        vcpus=vcpus,
        memory_mib=memory,
        secure_boot=secure_boot,
        boot=path,
        disk=Disk(disk),
        smbios=smbios,
        fw_cfg=fw_cfg,
    )
    check(machine, firmware)
    output = read_folder(folder)
    place = open_cache(cache)
    result, serial_log = boot(
        output,
        tree=ensure_tree(cache=place, progress=say, mirror=mirror),
        cache=place,
        machine=machine,
        timeout=timeout,
        say=say,
        firmware=firmware,
        mirror=mirror,
    )
    document = boot_to_json(result)
    write_result(folder, document, serial_log, timeline_svg(result))
    if output_format == "json":
        print_json(document)
    else:
        click.echo(render_boot(result))
    error = _error(result, folder)
    if error is not None:
        raise error


def _error(result: BootResult, folder: Path) -> Finding | None:
    """Return what the command ends with where the image is not proved."""
    log = f"{folder / 'boot' / 'serial.log'} has the console, {folder / 'boot' / 'result.json'} the rest"
    if result.outcome is not Outcome.UP:
        reached = result.timeline[-1].what if result.timeline else "nothing at all"
        tail = "".join(f"\n  | {line}" for line in result.console_tail)
        return Finding(f"{result.reason}; last seen: {reached}{tail}", code=_CODES[result.outcome], hint=log)
    different: dict[str, list[str]] = {}
    for register in result.registers:
        if register.equal is False:
            name = register.register if register.phase is None else f"{register.register} at {register.phase}"
            different.setdefault(name, []).append(register.alg)
    if different:
        words = ", ".join(f"`{name}` ({', '.join(banks)})" for name, banks in different.items())
        return Finding(f"not as predicted: {words}", code="PVB520", hint=log)
    failed = [f"{line.component}: {line.what}" for line in result.selftest if not line.passed]
    if failed:
        return Finding(f"a selftest component reports: {'; '.join(failed)}", code="PVB521", hint=log)
    return None
