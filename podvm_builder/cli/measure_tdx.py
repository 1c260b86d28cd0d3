"""``podvm-build measure tdx``: MRTD of a firmware."""

from __future__ import annotations

import click

from podvm_builder.cli.common import explain_option, format_option
from podvm_builder.cli.input_files import named, read_file
from podvm_builder.cli.measure_output import print_measurements
from podvm_builder.formats.ovmf import MAX_IMAGE
from podvm_builder.measure.tdx import IDENTIFICATION, ORDERS, SINGLE_PASS, measure_tdx


@click.command()
@click.option("--firmware", type=click.Path(), required=True, metavar="FILE", help="OVMF image with TDX support.")
@click.option(
    "--mrtd-order",
    "orders",
    type=click.Choice(tuple(ORDERS)),
    multiple=True,
    default=(SINGLE_PASS,),
    show_default=True,
    help="Order in which the VMM adds and measures pages; repeatable (`podvm-build explain PVB235`).",
)
@explain_option
@format_option
def command(*, firmware: str, orders: tuple[str, ...], output_format: str) -> None:
    """Predict MRTD, and say what is known of RTMR 0 to 3.

    MRTD depends on the firmware and the page order alone: not on vCPUs, memory, policy or image.
    """
    image = read_file(firmware, limit=MAX_IMAGE)
    with named(firmware):
        measurements, regions = measure_tdx(image, orders=orders)
    print_measurements(measurements, regions, IDENTIFICATION, output_format, evidence="tdx")
