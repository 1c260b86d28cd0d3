"""The documents hold what they say: commands run, links lead somewhere, generated parts are up to date."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from podvm_builder.cli.app import cli, run
from podvm_builder.formats.documents import measurements_to_json
from tests.conftest import PROJECT
from tests.support.measurement_sets import snp_set

DOCUMENTS = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# these need an image, the tools tree or this machine's state; that they are well-formed is checked all the same
NOT_RUN = {("build",), ("boot",), ("doctor",), ("tools",), ("measure", "image"), ("lint",)}
# these need registries of others
NOT_RUN |= {("components", command) for command in ("lock", "show", "verify", "pull")}

pytestmark = pytest.mark.skipif(not (PROJECT / "README.md").is_file(), reason="the documents are not with the tests")


def blocks(document: Path, language: str) -> list[str]:
    return [body for name, body in FENCE.findall(document.read_text(encoding="utf-8")) if name == language]


def commands(document: Path) -> list[list[str]]:
    """Return the arguments of every `$ podvm-build …` line, in order."""
    lines = [line for block in blocks(document, "console") for line in block.splitlines()]
    prefix = "$ podvm-build "
    return [shlex.split(line.removeprefix(prefix)) for line in lines if line.startswith(prefix)]


def parse(arguments: list[str]) -> None:
    """Parse a command line down to its last command without running it."""
    command: click.Command = cli
    context = click.Context(cli, info_name="podvm-build")
    while isinstance(command, click.Group):
        command.parse_args(context, list(arguments))
        name, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    command.parse_args(context, arguments)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_run(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    built = tmp_path / "out" / "debian-13-snp-libvirt"
    built.mkdir(parents=True)
    (built / "measurements.json").write_text(json.dumps(measurements_to_json(snp_set())), encoding="utf-8")
    for block in blocks(document, "yaml"):
        name = re.match(r"# (\S+\.yaml)\n", block)
        if name is not None:
            (tmp_path / name[1]).write_text(block, encoding="utf-8")
    for arguments in commands(document):
        if (arguments[0],) in NOT_RUN or tuple(arguments[:2]) in NOT_RUN:
            parse(arguments)
        else:
            assert run(arguments) == 0, shlex.join(arguments)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_exist(document: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for block in blocks(document, "sh"):
        for line in block.splitlines():
            if line.startswith("make "):
                arguments = shlex.split(line, comments=True)
                subprocess.run([*arguments, "-n"], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    missing = [target for target in targets if "://" not in target and not (document.parent / target).is_file()]
    assert missing == []


def test_what_is_generated_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(PROJECT / "scripts" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", ["scripts/setup", ".ci/run"])
def test_scripts_are_clean(script: str) -> None:
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([program, str(PROJECT / script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
