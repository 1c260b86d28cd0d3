"""``podvm-build measure tpm``: the PCRs of a raw image or of a UKI."""

from __future__ import annotations

from pathlib import Path

import click

from podvm_builder.cli.boot_inputs import check_kind
from podvm_builder.cli.common import explain_option, format_option
from podvm_builder.cli.input_files import named
from podvm_builder.cli.measure_output import print_set
from podvm_builder.cli.platform_inputs import platform_option, read_profile
from podvm_builder.cli.secure_boot_inputs import read_keys
from podvm_builder.errors import InputError
from podvm_builder.measure.boot_log import DISK
from podvm_builder.measure.machine import measure_tpm
from podvm_builder.measure.tpm import BANKS, DEFAULT_BANKS
from podvm_builder.model.plan import BOOT_PATHS, SECURE_BOOT
from podvm_builder.tools.disks import open_disk
from podvm_builder.tools.files import hashing_threads

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--image", type=_PATH, metavar="FILE", help="Raw or qcow2 image; it is read without mounting it.")
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
    help="Not compiled into the firmware, compiled in but off, or on.  "
    "[default: as --vars or --platform says, else absent]",
)
@click.option("--vars", "store", type=_PATH, metavar="FILE", help="Variable store of the firmware, e.g. OVMF_VARS.fd.")
@click.option("--pk", type=_PATH, multiple=True, metavar="FILE", help="Platform key: .esl, .auth, .crt or .der.")
@click.option("--kek", type=_PATH, multiple=True, metavar="FILE", help="Key exchange keys; repeatable.")
@click.option("--db", type=_PATH, multiple=True, metavar="FILE", help="Allowed signers and digests; repeatable.")
@click.option("--dbx", type=_PATH, multiple=True, metavar="FILE", help="Forbidden ones; repeatable.")
@click.option("--owner", metavar="GUID", help="Owner that certificates are enrolled under.")
@platform_option
@click.option(
    "--phase",
    "phases",
    multiple=True,
    metavar="WORD",
    help="Boot phase that systemd extends PCR 11 with, in order; repeatable. Without it: those that the image has.",
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
@explain_option
@format_option
def command(
    *,
    image: Path | None,
    uki: Path | None,
    boot: str,
    secure_boot: str | None,
    store: Path | None,
    pk: tuple[Path, ...],
    kek: tuple[Path, ...],
    db: tuple[Path, ...],
    dbx: tuple[Path, ...],
    owner: str | None,
    platform: Path | None,
    phases: tuple[str, ...],
    banks: tuple[str, ...],
    output_format: str,
) -> None:
    """Predict PCR 0 to 15, each with its value or the reason why there is none.

    The image's initrd, root file system and kernel are looked into for what they extend. What the firmware measures of
    itself, and its habits, come from a profile that `evidence learn` made of a machine's log.
    """
    path = uki if image is None else image
    if path is None or (image is not None and uki is not None):
        raise InputError("give either `--image` or `--uki`", code="PVB248")
    if len(set(phases)) != len(phases) or not all(word.isascii() and word.isprintable() and word for word in phases):
        raise InputError("`--phase` takes each word once, in ASCII", code="PVB248")
    keys, state = read_keys(store, {"pk": pk, "kek": kek, "db": db, "dbx": dbx}, owner=owner, secure_boot=secure_boot)
    profile = read_profile(platform)
    if state == "on" and keys is None and profile is None:
        raise InputError(
            "secure boot `on`: PCR 7 covers the firmware's keys",
            code="PVB246",
            hint="give the variable store with `--vars`, or `--pk`, `--kek`, `--db` and `--dbx`, or `--platform`",
        )
    with named(path), open_disk(path) as reader:
        check_kind(reader, uki=uki is not None, code="PVB248")
        found = measure_tpm(
            reader,
            boot=boot,
            secure_boot=state if profile is None or keys is not None or secure_boot is not None else None,
            keys=keys,
            phases=phases or None,
            banks=tuple(dict.fromkeys(banks)),
            platform=profile,
            workers=hashing_threads(),
        )
    print_set(found, output_format)
