"""``podvm-build measure tpm``: the PCRs of a raw image or of a UKI."""

from __future__ import annotations

import os
from pathlib import Path

import click

from podvm_builder.cli.common import format_option
from podvm_builder.cli.input_files import named
from podvm_builder.cli.measure_output import print_set
from podvm_builder.errors import InputError
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.boot_log import BOOT_PATHS, DISK, SECURE_BOOT
from podvm_builder.measure.tpm import BANKS, DEFAULT_BANKS, TpmBoot, identify_by_tpm, predict_tpm
from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.tools.files import FileReader

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--image", type=_PATH, metavar="FILE", help="Raw disk image; it is read without mounting it.")
@click.option("--uki", type=_PATH, metavar="FILE", help="Unified kernel image on its own; PCR 5 is then not computed.")
@click.option(
    "--boot",
    type=click.Choice(BOOT_PATHS),
    default=DISK,
    show_default=True,
    help="Firmware starts the UKI from the disk, or QEMU hands it over with -kernel.",
)
@click.option(
    "--secure-boot",
    type=click.Choice(SECURE_BOOT),
    default="absent",
    show_default=True,
    help="Not compiled into the firmware, compiled in but off, or on.",
)
@click.option(
    "--phase",
    "phases",
    multiple=True,
    metavar="WORD",
    help="Boot phase that systemd extends PCR 11 with, in order; repeatable. Without it: none.",
)
@click.option(
    "--bank",
    "banks",
    type=click.Choice(BANKS),
    multiple=True,
    default=DEFAULT_BANKS,
    show_default=True,
    help="Hash algorithm of a bank; repeatable.",
)
@format_option
def command(
    *,
    image: Path | None,
    uki: Path | None,
    boot: str,
    secure_boot: str,
    phases: tuple[str, ...],
    banks: tuple[str, ...],
    output_format: str,
) -> None:
    """Predict PCR 0 to 15, each with its value or the reason why there is none.

    Firmware that has its own habits, or keys of its own, has other values in PCR 4, 5 and 7: see the guide.
    """
    path = uki if image is None else image
    if path is None or (image is not None and uki is not None):
        raise InputError("give either `--image` or `--uki`", code="PVB248")
    if secure_boot == "on":
        raise InputError(
            "secure boot `on`: PCR 7 covers the firmware's keys, and a variable store cannot be given yet",
            code="PVB246",
            hint="use `off` or `absent`, or take PCR 7 from a machine that is known to be good",
        )
    if len(set(phases)) != len(phases) or not all(word.isascii() and word.isprintable() and word for word in phases):
        raise InputError("`--phase` takes each word once, in ASCII", code="PVB248")
    with named(path), FileReader(path) as reader:
        artifacts = read_boot_artifacts(reader)
        if uki is not None and artifacts.gpt is not None:
            raise InputError(f"`{uki}` is a disk image: give it with `--image`", code="PVB248")
        (prediction,) = predict_tpm(
            artifacts,
            [TpmBoot(boot=boot, secure_boot=secure_boot, phases=phases)],
            banks=tuple(dict.fromkeys(banks)),
            workers=min(4, os.cpu_count() or 1),
        )
    found = MeasurementSet(
        target="",
        ids={},
        identifies_image=identify_by_tpm(prediction.measurements),
        logs={boot: prediction.log},
        regions={},
        measurements=prediction.measurements,
        evidence="tpm",
    )
    print_set(found, output_format)
