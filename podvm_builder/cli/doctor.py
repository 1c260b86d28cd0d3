"""``podvm-build doctor``: what this machine lacks."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.place import cache_option, mirror_option
from podvm_builder.errors import Exit


@click.command()
@mirror_option
@cache_option
@format_option
def command(*, mirror: str | None, cache: Path | None, output_format: str) -> int:
    """Say what this machine lacks for a build, and the one command that mends it.

    Nothing is changed; the package mirror is asked whether it answers. Exits 3 if something is missing.
    """
    from podvm_builder.tools.cache import default_cache
    from podvm_builder.tools.doctor import examine, mend

    checks = examine(cache=(cache or default_cache()).absolute(), mirror=mirror)
    missing = [check for check in checks if not check.ok]
    mends = mend(checks)
    if output_format == "json":
        print_json({"ok": not missing, "checks": [asdict(check) for check in checks], "mend": mends})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            word = "MISSING" if not check.ok else "ok" if check.checked else "unknown"
            click.echo(f"{word:7}  {check.name.ljust(width)}  {check.found}")
        if mends:
            click.echo("\nto mend it:")
            for line in mends:
                click.echo(f"  {line}")
    return int(Exit.LACKING if missing else Exit.OK)
