"""``podvm-build refvalues``: what a verifier is told to accept, one file a command."""

from __future__ import annotations

import click

from podvm_builder.cli.lazy import CommandTable, LazyGroup

COMMANDS: CommandTable = {
    "export": ("refvalues_export", "Write measurements in the form that a verifier reads."),
    "check": ("refvalues_check", "Tell what a policy will say of a machine of this image."),
    "diff": ("refvalues_diff", "Which reference values differ between two images, and why."),
    "history": ("refvalues_history", "Show what verifiers were told, and which images they take."),
    "push": ("refvalues_push", "Have a Trustee accept images besides those that it accepts."),
    "retire": ("refvalues_retire", "Have a Trustee accept images no longer."),
    "show": ("refvalues_show", "Show the values that an exported file registers."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Export reference values to a verifier, and tell what it will say."""
