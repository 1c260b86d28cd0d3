"""``podvm-build measure snp``: SEV-SNP launch digests of a firmware."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from podvm_builder.cli.common import explain_option, explained_register, format_option, print_json
from podvm_builder.cli.input_files import named, read_file
from podvm_builder.cli.launch_inputs import (
    cpu_models,
    kernel_hashes,
    kernel_options,
    tell_unknown_entries,
    vcpu_options,
)
from podvm_builder.errors import InputError
from podvm_builder.formats.ovmf import MAX_IMAGE
from podvm_builder.measure.inputs import (
    parse_firmware_seed,
    parse_guest_features,
    parse_vcpus,
)
from podvm_builder.measure.snp import identify, measure_launch
from podvm_builder.measure.snp_launch import SnpLaunch
from podvm_builder.measure.vmm import find_vmm

if TYPE_CHECKING:
    from podvm_builder.measure.svsm import Svsm

_PATH = click.Path()


@click.command()
@click.option("--firmware", type=_PATH, metavar="FILE", help="OVMF image, e.g. OVMF.amdsev.fd.")
@click.option(
    "--instance",
    "instance_names",
    multiple=True,
    metavar="CLOUD:TYPE",
    help="Take vCPUs, CPU and VMM from an instance type; repeatable. `list instances` shows all.",
)
@vcpu_options
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
@kernel_options
@click.option(
    "--firmware-seed", "seed", metavar="HEX", help="Digest after the firmware's pages; they are then not hashed."
)
@click.option(
    "--print-firmware-seed", is_flag=True, help="Print the digest after the firmware's pages, and nothing else."
)
@click.option("--svsm", type=_PATH, metavar="FILE", help="SVSM below the firmware, as COCONUT's svsm.bin.")
@click.option(
    "--vars-size", type=click.IntRange(min=0), metavar="BYTES", help="Size of the variable store between them."
)
@click.option("--igvm", type=_PATH, metavar="FILE", help="IGVM file, instead of a firmware and all that goes with it.")
@click.option("--check-kvm", is_flag=True, help="Check that KVM measures what the IGVM file says.")
@click.option("--native-zero", is_flag=True, help="The loader adds an IGVM file's empty pages as zero pages.")
@explain_option
@format_option
@click.pass_context
def command(
    context: click.Context,
    *,
    firmware: str | None,
    instance_names: tuple[str, ...],
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
    svsm: str | None,
    vars_size: int | None,
    igvm: str | None,
    check_kvm: bool,
    native_zero: bool,
    output_format: str,
) -> None:
    """Predict SEV-SNP launch digests.

    One call computes every combination of the vCPU counts, CPU models, guest features and VMMs given. EC2 and
    Google put no CPU signature into the digest, so that it is the same there for every model.
    """
    if igvm is not None:
        _only_igvm(context)
        _measure_igvm(igvm, output_format, check_kvm=check_kvm, native_zero=native_zero)
        return
    if check_kvm or native_zero:
        raise InputError("`--check-kvm` and `--native-zero` are for `--igvm`", code="PVB236")
    if firmware is None:
        raise click.UsageError("give `--firmware`, or `--igvm`", context)
    if print_firmware_seed:
        _only_seed(context)
    if vars_size is not None and svsm is None:
        raise InputError("`--vars-size` without `--svsm`: nothing depends on it", code="PVB238")
    if instance_names:
        vcpus, cpus, vmms = _of_instances(context, instance_names)
    rows = tuple(map(find_vmm, vmms))
    counts = parse_vcpus(vcpus)
    models = cpu_models(cpus, signatures)
    feature_sets = tuple(map(parse_guest_features, features))
    hashes = kernel_hashes(kernel, initrd, append)
    given_seed = None if seed is None else parse_firmware_seed(seed)
    image = read_file(firmware, limit=MAX_IMAGE)
    with named(firmware):
        placed = None if svsm is None else _read_svsm(svsm, image, vars_size)
        launch = SnpLaunch(image, kernel=hashes, firmware_seed=given_seed, svsm=placed)
        tell_unknown_entries(launch.unknown_entries)
        if print_firmware_seed:
            _print_seed(launch, output_format)
            return
        measurements, regions = measure_launch(
            launch, vmms=rows, cpus=models, vcpus=counts, guest_features=feature_sets
        )
    from podvm_builder.cli.measure_output import print_measurements

    print_measurements(measurements, regions, identify(hashes, rows), output_format, evidence="snp")


def _measure_igvm(path: str, output_format: str, *, check_kvm: bool, native_zero: bool) -> None:
    from podvm_builder.cli.measure_output import print_measurements
    from podvm_builder.formats.igvm import MAX_FILE
    from podvm_builder.measure.igvm import IDENTIFICATION, measure_igvm

    data = read_file(path, limit=MAX_FILE)
    with named(path):
        measurements, regions = measure_igvm(data, native_zero=native_zero, check_kvm=check_kvm)
    print_measurements(measurements, regions, IDENTIFICATION, output_format, evidence="snp")


def _read_svsm(path: str, image: bytes, vars_size: int | None) -> Svsm:
    from podvm_builder.measure.svsm import place_svsm

    if vars_size is None:
        raise InputError("`--svsm` needs `--vars-size`: it decides where the SVSM lies", code="PVB238")
    data = read_file(path, limit=MAX_IMAGE)
    with named(path):
        return place_svsm(data, image, vars_size=vars_size)


def _of_instances(context: click.Context, names: tuple[str, ...]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return the vCPU counts, CPU model and VMM of instance types.

    Raises:
        InputError: PVB150-152.
    """
    from podvm_builder.cli.instances import find_instances

    said = {"--vcpus", "--cpu", "--cpu-sig", "--vmm"}
    for option in _given(context, but=set()):
        if option in said:
            raise InputError(
                f"`{option}` with `--instance`: the instance type says it", code="PVB152", hint=f"leave `{option}` out"
            )
    found = find_instances(names)
    return ",".join(str(instance.vcpus) for instance in found), (found[0].cpu,), (found[0].vmm,)


def _only_igvm(context: click.Context) -> None:
    """Refuse options that an IGVM file leaves no room for.

    Raises:
        InputError: PVB236.
    """
    for option in _given(context, but={"igvm", "check_kvm", "native_zero", "output_format"}):
        raise InputError(f"`{option}` with `--igvm`: the file itself says what is measured", code="PVB236")


def _only_seed(context: click.Context) -> None:
    """Refuse options that the digest after the firmware's pages does not depend on.

    Raises:
        InputError: PVB100.
    """
    given = _given(context, but={"firmware", "print_firmware_seed", "output_format"})
    for option in [*given, *(["--explain"] if explained_register() is not None else [])]:
        raise InputError(
            f"`{option}` with `--print-firmware-seed`: the seed comes from the firmware alone",
            code="PVB100",
            hint=f"leave `{option}` out",
        )


def _given(context: click.Context, *, but: set[str]) -> list[str]:
    """Return the options that the user gave, apart from some by the names of their parameters."""
    return [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in context.params.keys() - but
        and context.get_parameter_source(str(parameter.name)) is not click.core.ParameterSource.DEFAULT
    ]


def _print_seed(launch: SnpLaunch, output_format: str) -> None:
    seed = launch.firmware_seed.hex()
    if output_format == "json":
        print_json({"firmware_seed": seed})
    else:
        click.echo(seed)
