"""Writes what is generated from the program itself, or with `--check` says what is out of date.

=============================  ==================================================
``docs/cli.md``                every command's `--help`
``docs/errors.md``             the pages of the error codes
``README.md``                  the support matrix, between its markers
``docs/trustee.md``            the tables of forms, names and facts, between their markers
``schemas/``                   the JSON Schemas of profiles and component sets
``docs/lint.md``               the rules of lint, between their markers
``mkosi/``                     the rendered recipes of the reference targets
=============================  ==================================================
"""

from __future__ import annotations

import difflib
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import click
import trustee_tables

from podvm_builder.catalog.pages import error_codes, error_page
from podvm_builder.cli.app import cli, run
from podvm_builder.lint.table import RULES
from podvm_builder.model.axes import Target

PROJECT = Path(__file__).resolve().parent.parent
REFERENCE_TARGETS = ("debian-13/snp/libvirt", "debian-13/tdx/azure")


def main() -> int:
    """Write the files, or compare them; return the exit code."""
    os.chdir(PROJECT)
    check = sys.argv[1:] == ["--check"]
    recipes = [["render", target, "-o", f"mkosi/{Target.parse(target).folder}"] for target in REFERENCE_TARGETS]
    wanted = {
        Path("docs/cli.md"): cli_page(),
        Path("docs/errors.md"): errors_page(),
        Path("docs/trustee.md"): with_tables((PROJECT / "docs/trustee.md").read_text(encoding="utf-8")),
        Path("README.md"): with_matrix((PROJECT / "README.md").read_text(encoding="utf-8")),
        Path("docs/lint.md"): with_rules((PROJECT / "docs/lint.md").read_text(encoding="utf-8")),
        Path("schemas/profile.schema.json"): output("schema", "profile"),
        Path("schemas/components.schema.json"): output("schema", "components"),
    }
    different = [path for path, text in wanted.items() if current(path) != text]
    if check:
        for path in different:
            diff = difflib.unified_diff(
                (current(path) or "").splitlines(), wanted[path].splitlines(), str(path), "generated", lineterm="", n=1
            )
            print("\n".join(list(diff)[:20]))
            print(f"{path} is out of date; `make docs` writes it anew", file=sys.stderr)
        drifted = [recipe for recipe in recipes if run([*recipe, "--check"]) != 0]
        return 1 if different or drifted else 0
    for path in different:
        (PROJECT / path).parent.mkdir(parents=True, exist_ok=True)
        (PROJECT / path).write_text(wanted[path], encoding="utf-8")
        print(f"wrote {path}", file=sys.stderr)
    for recipe in recipes:
        output(*recipe)
    return 0


def current(path: Path) -> str | None:
    """Return a file of the project, or None where there is none."""
    file = PROJECT / path
    return file.read_text(encoding="utf-8") if file.is_file() else None


def output(*arguments: str) -> str:
    """Return what a command line of the program writes to stdout."""
    out = io.StringIO()
    with redirect_stdout(out):
        code = run(list(arguments))
    if code != 0:
        sys.exit(f"podvm-build {' '.join(arguments)} exited with {code}")
    return out.getvalue()


# --- docs/cli.md


def cli_page() -> str:
    """Return every command's help, the group's first."""
    parts = [
        "# The command line",
        "Written by `make docs` from `--help`. stdout is data, stderr is talk; `-` as a file means stdin.",
    ]
    for name, command, context in commands("podvm-build", cli, None):
        parts.append(f"## {name}\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts) + "\n"


def commands(
    name: str, command: click.Command, parent: click.Context | None
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield a command and those below it, each with the context its help is laid out in."""
    settings = {**command.context_settings, "terminal_width": 100}
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent, **settings)
    yield name, command, context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None:
                yield from commands(f"{name} {below}", found, context)


# --- docs/errors.md


def errors_page() -> str:
    """Return all error pages in one, a section each."""
    parts = [
        "# Error codes",
        "Written by `make docs` from the pages that `podvm-build explain CODE` shows.",
    ]
    for code in error_codes():
        page = error_page(code)
        if page is not None:
            parts.append(f"## {page.code}: {page.title}\n\n{page.body.rstrip()}")
    return "\n\n".join(parts) + "\n"


# --- the support matrix of README.md


def with_matrix(readme: str) -> str:
    """Return the README with the support matrix of today between its markers."""
    return between(readme, "targets", matrix(json.loads(output("list", "targets", "--format", "json"))))


def between(text: str, name: str, content: str) -> str:
    """Return a document with what stands between the markers of a name written anew."""
    start, stop = f"<!-- begin: {name}, written by `make docs` -->", f"<!-- end: {name} -->"
    before, begin, rest = text.partition(start)
    _, end, after = rest.partition(stop)
    if not begin or not end:
        sys.exit(f"a document lacks the markers {start} and {stop}")
    return f"{before}{begin}\n{content}\n{end}{after}"


# --- the tables of docs/trustee.md


def with_tables(text: str) -> str:
    """Return the document with the tables of today between their markers."""
    for name, table in (
        ("forms", trustee_tables.forms()),
        ("names", trustee_tables.names()),
        ("facts", trustee_tables.facts()),
    ):
        text = between(text, name, table)
    return text


def with_rules(page: str) -> str:
    """Return the page about lint with the rules of today between its markers."""
    lines = ["| code | rule | what is found |", "|---|---|---|"]
    for rule in RULES:
        found = error_page(rule.code)
        lines.append(f"| {rule.code} | `{rule.name}` | {found.title if found is not None else ''} |")
    return between(page, "rules", "\n".join(lines))


def matrix(rows: list[dict[str, object]]) -> str:
    """Return a table of distribution and TEE by cloud; each cell is the level of support.

    A TEE that no cloud is supported with has no row: `list targets` says why.
    """
    cells: dict[tuple[str, str], dict[str, str]] = {}
    clouds: dict[str, None] = {}
    for row in rows:
        target = Target.parse(str(row["target"]))
        if str(target) != f"{target.distro}/{target.tee}/{target.cloud}":
            continue
        clouds[target.cloud] = None
        unbound = "" if row["identifies_image"] else " ¹"
        cells.setdefault((target.distro, target.tee), {})[target.cloud] = (
            f"{row['level']}{unbound}" if row["supported"] else "–"
        )
    lines = [
        f"| distribution | TEE | {' | '.join(clouds)} |",
        f"|---|---|{'---|' * len(clouds)}",
    ]
    lines += [
        f"| {distro} | {tee} | {' | '.join(row.get(cloud, '–') for cloud in clouds)} |"
        for (distro, tee), row in cells.items()
        if set(row.values()) != {"–"}
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
