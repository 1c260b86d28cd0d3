"""``podvm-build measure``: predictions, one command for each kind of register."""

from __future__ import annotations

import click

from podvm_builder.cli.lazy import CommandTable, LazyGroup

COMMANDS: CommandTable = {
    "image": ("measure_image", "Every register of a built image."),
    "snp": ("measure_snp", "SEV-SNP launch digests of a firmware, with or without a kernel."),
    "sev": ("measure_sev", "SEV and SEV-ES launch digests of a firmware."),
    "id-block": ("measure_id_block", "Sign an SNP ID block for a launch digest."),
    "tdx": ("measure_tdx", "TDX MRTD of a firmware, and RTMRs of what boots under it."),
    "tpm": ("measure_tpm", "TPM PCRs of a raw or qcow2 image or a UKI."),
    "initdata": ("measure_initdata", "What evidence holds for a pod's initdata."),
    "diff": ("measure_diff", "Which registers moved between two images, and what moved them."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Predict launch digests, MRTD and PCRs."""
