"""`explain` and `completion` as processes see them."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from click.shell_completion import BashComplete

from podvm_builder.catalog.pages import error_codes
from podvm_builder.cli.app import COMMANDS, cli, run
from podvm_builder.cli.lazy import LazyGroup


def test_explain_prints_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "pvb602"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# PVB602: The reference values do not identify the image\n\n")
    assert "What to do:" in out


def test_explain_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "PVB100", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == {"code", "title", "text"}


def test_explain_of_no_code_suggests_a_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "PVB6020"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error[PVB100]" in captured.err
    assert "PVB602" in captured.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "_PODVM_BUILD_COMPLETE" in out
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n"], input=out, text=True, check=True)


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "powershell"]) == 2
    assert "error[PVB100]" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["measure"], ["tools"], ["refvalues"], ["eventlog"]], ids=lambda words: "-".join(words) or "none"
)
def test_a_group_without_a_command_shows_its_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"Usage: {' '.join(['podvm-build', *words])} [OPTIONS] COMMAND")


def completions(words: list[str], incomplete: str) -> list[str]:
    completion = BashComplete(cli, {}, "podvm-build", "_PODVM_BUILD_COMPLETE")
    return [item.value for item in completion.get_completions(words, incomplete)]


def test_codes_complete() -> None:
    assert completions(["explain"], "pvb6") == [code for code in error_codes() if code.startswith("PVB6")]


def test_commands_complete_without_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LazyGroup, "get_command", None)
    assert completions([], "") == list(COMMANDS)
    assert completions([], "re") == ["render", "refvalues"]
    assert "--version" in completions([], "--")
