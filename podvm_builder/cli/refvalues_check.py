"""``podvm-build refvalues check``: what a policy will say of a machine of this image."""

from __future__ import annotations

from typing import Any

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.refvalues_options import make_request, request_options
from podvm_builder.errors import Exit


@click.command()
@request_options
@format_option
def command(*, output_format: str, **asked: Any) -> int:
    """Tell what an attestation policy will say of a machine of this image, before there is one.

    MEASUREMENTS is a measurements.json, the folder of a build, or - for stdin.

    Prints the trust vector (AR4SI) that a machine gets once the exported values are registered, what is missing for
    a better one, and what the policy does not catch. Exits 1 if any image passes, or the machine is contraindicated.
    """
    from podvm_builder.refvalues.check import expect
    from podvm_builder.report.refvalues_check import expectation_json, expectation_lines
    from podvm_builder.report.text import printable

    found = expect(make_request(**asked))
    if output_format == "json":
        print_json(expectation_json(found))
    else:
        click.echo("\n".join(map(printable, expectation_lines(found))))
    return int(Exit.OK if found.good else Exit.FINDING)
