"""``podvm-build measure sev``: SEV and SEV-ES launch digests of a firmware."""

from __future__ import annotations

import click

from podvm_builder.cli.common import explain_option, format_option
from podvm_builder.cli.input_files import named, read_file
from podvm_builder.cli.launch_inputs import (
    cpu_models,
    kernel_hashes,
    kernel_options,
    tell_unknown_entries,
    vcpu_options,
)
from podvm_builder.cli.measure_output import print_measurements
from podvm_builder.formats.ovmf import MAX_IMAGE
from podvm_builder.measure.inputs import parse_sev_es_features, parse_vcpus
from podvm_builder.measure.sev import MODES, SevLaunch, identify_sev, measure_sev
from podvm_builder.measure.vmm import find_vmm

_PATH = click.Path()


@click.command()
@click.option("--firmware", type=_PATH, required=True, metavar="FILE", help="OVMF image.")
@click.option(
    "--mode",
    "modes",
    type=click.Choice(MODES),
    multiple=True,
    default=MODES,
    show_default=True,
    help="Without or with the vCPUs' register state; repeatable.",
)
@vcpu_options
@click.option(
    "--vmm",
    "vmms",
    multiple=True,
    default=("qemu",),
    show_default=True,
    metavar="qemu[@REVISION]",
    help="Repeatable. `podvm-build explain PVB229` lists the revisions.",
)
@click.option(
    "--guest-features",
    "features",
    multiple=True,
    default=("0x0",),
    show_default=True,
    metavar="N",
    help="SEV_FEATURES of a SEV-ES guest; repeatable.",
)
@kernel_options
@explain_option
@format_option
def command(
    *,
    firmware: str,
    modes: tuple[str, ...],
    vcpus: str,
    cpus: tuple[str, ...],
    signatures: tuple[str, ...],
    vmms: tuple[str, ...],
    features: tuple[str, ...],
    kernel: str | None,
    initrd: str | None,
    append: str | None,
    output_format: str,
) -> None:
    """Predict SEV and SEV-ES launch digests under QEMU.

    A guest's owner is sent an HMAC over this digest, the policy and a nonce. SEV's digest depends on the firmware and
    what is booted directly alone; SEV-ES adds the state that each vCPU starts with.
    """
    rows = tuple(map(find_vmm, vmms))
    counts = parse_vcpus(vcpus)
    models = cpu_models(cpus, signatures)
    feature_sets = tuple(map(parse_sev_es_features, features))
    hashes = kernel_hashes(kernel, initrd, append)
    image = read_file(firmware, limit=MAX_IMAGE)
    with named(firmware):
        launch = SevLaunch(image, kernel=hashes)
        tell_unknown_entries(launch.unknown_entries)
        measurements, regions = measure_sev(
            launch, modes=modes, vmms=rows, cpus=models, vcpus=counts, guest_features=feature_sets
        )
    print_measurements(measurements, regions, identify_sev(launch, modes), output_format, evidence="")
