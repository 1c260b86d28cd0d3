"""``podvm-build measure snp``: SEV-SNP launch digests of a firmware."""

from __future__ import annotations

import os

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.input_files import hash_file, named, read_file
from podvm_builder.errors import InputError
from podvm_builder.formats.kernel_hashes import KernelHashes, hash_cmdline
from podvm_builder.formats.ovmf import MAX_IMAGE
from podvm_builder.measure.inputs import (
    Cpu,
    parse_cpu_signature,
    parse_firmware_seed,
    parse_guest_features,
    parse_vcpus,
)
from podvm_builder.measure.snp import identify, measure_launch
from podvm_builder.measure.snp_launch import SnpLaunch
from podvm_builder.measure.vmm import find_vmm

_PATH = click.Path()
_LIMIT = 4 << 30
_DEFAULT_CPU = "EPYC-v4"


@click.command()
@click.option("--firmware", type=_PATH, required=True, metavar="FILE", help="OVMF image, e.g. OVMF.amdsev.fd.")
@click.option("--vcpus", default="1", show_default=True, metavar="LIST", help="vCPU counts, e.g. 1,2,4-8.")
@click.option(
    "--cpu",
    "cpus",
    multiple=True,
    metavar="MODEL",
    help=f"QEMU CPU model or family/model/stepping; repeatable.  [default: {_DEFAULT_CPU}]",
)
@click.option(
    "--cpu-sig", "signatures", multiple=True, metavar="N", help="CPU signature (CPUID leaf 1, EAX); repeatable."
)
@click.option(
    "--vmm",
    "vmms",
    multiple=True,
    default=("qemu",),
    show_default=True,
    metavar="NAME[@REVISION]",
    help="qemu, ec2, gce or krun; repeatable. `podvm-build explain PVB229` lists the revisions.",
)
@click.option(
    "--guest-features",
    "features",
    multiple=True,
    default=("0x1",),
    show_default=True,
    metavar="N",
    help="SEV_FEATURES; repeatable.",
)
@click.option("--kernel", type=_PATH, metavar="FILE", help="Kernel or UKI that QEMU loads with kernel-hashes=on.")
@click.option("--initrd", type=_PATH, metavar="FILE", help="Initrd that QEMU loads with the kernel.")
@click.option("--append", metavar="TEXT", help="Command line exactly as given to QEMU.")
@click.option(
    "--firmware-seed", "seed", metavar="HEX", help="Digest after the firmware's pages; they are then not hashed."
)
@click.option(
    "--print-firmware-seed", is_flag=True, help="Print the digest after the firmware's pages, and nothing else."
)
@format_option
def command(
    *,
    firmware: str,
    vcpus: str,
    cpus: tuple[str, ...],
    signatures: tuple[str, ...],
    vmms: tuple[str, ...],
    features: tuple[str, ...],
    kernel: str | None,
    initrd: str | None,
    append: str | None,
    seed: str | None,
    print_firmware_seed: bool,
    output_format: str,
) -> None:
    """Predict SEV-SNP launch digests.

    One call computes every combination of the vCPU counts, CPU models, guest features and VMMs given. EC2 and
    Google put no CPU signature into the digest, so that it is the same there for every model.
    """
    rows = tuple(map(find_vmm, vmms))
    counts = parse_vcpus(vcpus)
    models = [*map(Cpu.parse, cpus), *map(parse_cpu_signature, signatures)] or [Cpu.parse(_DEFAULT_CPU)]
    feature_sets = tuple(map(parse_guest_features, features))
    hashes = _kernel_hashes(kernel, initrd, append)
    given_seed = None if seed is None else parse_firmware_seed(seed)
    image = read_file(firmware, limit=MAX_IMAGE)
    with named(firmware):
        launch = SnpLaunch(image, kernel=hashes, firmware_seed=given_seed)
        for guid in launch.unknown_entries:
            click.echo(f"note: the firmware's table has an entry that is not known here, ignored: {guid}", err=True)
        if print_firmware_seed:
            _print_seed(launch, output_format)
            return
        measurements, regions = measure_launch(
            launch, vmms=rows, cpus=models, vcpus=counts, guest_features=feature_sets
        )
    from podvm_builder.cli.measure_output import print_measurements

    print_measurements(measurements, regions, identify(hashes, rows), output_format, evidence="snp")


def _kernel_hashes(kernel: str | None, initrd: str | None, append: str | None) -> KernelHashes | None:
    if kernel is None:
        if initrd is not None or append is not None:
            option = "--append" if initrd is None else "--initrd"
            raise InputError(f"`{option}` without `--kernel`: nothing measures it", code="PVB232")
        return None
    cmdline = hash_cmdline(os.fsencode(append or ""))
    kernel_digest = hash_file(kernel, limit=_LIMIT, what="kernel")
    if initrd is None:
        return KernelHashes(kernel=kernel_digest, cmdline=cmdline)
    return KernelHashes(kernel=kernel_digest, cmdline=cmdline, initrd=hash_file(initrd, limit=_LIMIT, what="initrd"))


def _print_seed(launch: SnpLaunch, output_format: str) -> None:
    seed = launch.firmware_seed.hex()
    if output_format == "json":
        print_json({"firmware_seed": seed})
    else:
        click.echo(seed)
