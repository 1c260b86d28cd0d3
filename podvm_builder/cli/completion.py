"""``podvm-build completion``: a shell's completion script."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_PODVM_BUILD_COMPLETE"


@click.command(epilog='For bash: eval "$(podvm-build completion bash)"; to keep it, put that line into ~/.bashrc.')
@click.argument("shell", type=click.Choice(SHELLS))
def command(*, shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import BashComplete, ShellComplete, get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click has all of SHELLS
    # BashComplete.source() starts a bash to learn its version; the script itself is the same for every bash from 4.4
    source = ShellComplete.source if found is BashComplete else found.source
    context = click.get_current_context()
    click.echo(source(found(context.find_root().command, {}, "podvm-build", _VARIABLE)))
