"""``podvm-build measure``: predictions, one command for each kind of register."""

from __future__ import annotations

import click

from podvm_builder.cli.lazy import CommandTable, LazyGroup

COMMANDS: CommandTable = {
    "image": ("measure_image", "Every register of a built image."),
    "snp": ("measure_snp", "SEV-SNP launch digests of a firmware, with or without a kernel."),
    "tdx": ("measure_tdx", "TDX MRTD of a firmware."),
    "tpm": ("measure_tpm", "TPM PCRs of a raw image or a UKI."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Predict launch digests, MRTD and PCRs."""
