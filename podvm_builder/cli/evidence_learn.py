"""``podvm-build evidence learn``: a platform profile from the log of one boot."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.eventlog_inputs import MAX_LOG, kind_option, parse_log
from podvm_builder.cli.input_files import named, read_file
from podvm_builder.formats.ovmf import MAX_IMAGE, read_table
from podvm_builder.formats.platform_profile import encode_profile, parse_profile_document
from podvm_builder.measure.learn import learn
from podvm_builder.model.plan import PLATFORM_VMMS
from podvm_builder.report.platform import platform_to_json, render_platform
from podvm_builder.tools.files import write_named

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("log", type=_PATH)
@kind_option
@click.option("-o", "--output", type=_PATH, required=True, metavar="FILE", help="Where to write the profile.")
@click.option("--firmware", type=_PATH, metavar="FILE", help="The firmware of the machine; its digest is recorded.")
@click.option("--vmm", type=click.Choice(PLATFORM_VMMS), help="The machine's VMM.")
@click.option("--machine", metavar="TEXT", help="What else names the machine, e.g. its instance type.")
@format_option
def command(
    *,
    log: Path,
    kind: str,
    output: Path,
    firmware: Path | None,
    vmm: str | None,
    machine: str | None,
    output_format: str,
) -> None:
    """Learn what firmware measures, and its habits, from the LOG of one boot that came as far as a kernel.

    The image that was booted does not matter: its events are left out. `measure tpm --platform`, `measure tdx
    --platform` and `measure image --platform` take the profile. A log is what the guest says: learn from a machine that
    is known to be good, and compare the registers of a quote with `eventlog replay LOG` first.
    """
    data = read_file(log, limit=MAX_LOG)
    found, known = parse_log(log, data, kind)
    facts = {"log": f"sha256:{hashlib.sha256(data).hexdigest()}"}
    if firmware is not None:
        image = read_file(firmware, limit=MAX_IMAGE)
        with named(firmware):
            read_table(image)
        facts["firmware"] = f"sha256:{hashlib.sha256(image).hexdigest()}"
    facts |= {name: text for name, text in (("vmm", vmm), ("machine", machine)) if text}
    with named(log):
        document = encode_profile(learn(found, known, facts=facts))
        profile = parse_profile_document(document)
    write_named(output, document)
    if output_format == "json":
        print_json(platform_to_json(profile))
    else:
        click.echo(render_platform(profile))
