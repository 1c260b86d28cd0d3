"""Groups of commands: what they say without one, and how to import a command when it is run, not when it is listed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from podvm_builder.errors import Exit

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

CommandTable = Mapping[str, tuple[str, str]]
"""Command name to module below ``podvm_builder.cli`` and help line. The module holds a click command called
``command``; the help lines stand in the table so that ``--help`` imports none of them."""


class CommandGroup(click.Group):
    """A group that answers a call without a command with its help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help, on stderr, where no command is given: it is a usage error, and help is what mends it."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(int(Exit.INPUT))
        return super().parse_args(ctx, args)


class LazyGroup(CommandGroup):
    """A group whose commands are those of a table.

    Args:
        table: the commands in the order in which help lists them.
        kwargs: as for :class:`click.Group`.
    """

    def __init__(self, *, table: CommandTable, **kwargs: Any) -> None:
        """Keep the table."""
        super().__init__(**kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the table's order."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return its ``command``."""
        if cmd_name not in self.table:
            return None
        module = importlib.import_module(f"podvm_builder.cli.{self.table[cmd_name][0]}")
        command = module.command
        assert isinstance(command, click.Command)  # noqa: S101 - an assertion about our own table
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest near names for a command that does not exist."""
        if args and not args[0].startswith("-") and args[0] not in self.table:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.table, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise click.UsageError(f"no such command `{args[0]}`{hint}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the commands from the table alone, and the group's own options."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=text) for name, (_, text) in self.table.items() if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])
