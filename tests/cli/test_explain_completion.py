"""`explain` and `completion` as processes see them."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from podvm_builder.catalog.pages import error_codes
from podvm_builder.cli.app import run


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


def test_codes_complete(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from click.shell_completion import BashComplete

    from podvm_builder.cli.app import cli

    completion = BashComplete(cli, {}, "podvm-build", "_PODVM_BUILD_COMPLETE")
    found = [item.value for item in completion.get_completions(["explain"], "pvb6")]
    assert found == [code for code in error_codes() if code.startswith("PVB6")]
