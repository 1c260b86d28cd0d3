"""What is our bug: the exit code says so, and the trace is kept for a report."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from podvm_builder.cli import app


def test_a_bug_leaves_its_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(**_: object) -> None:
        raise RuntimeError("this cannot be")

    monkeypatch.setattr(app.cli, "main", break_down)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert app.run([]) == 70
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error[PVB900]: internal error: RuntimeError: this cannot be\nhint: ")
    (trace,) = re.findall(r"report it with (\S+)", captured.err)
    assert Path(trace).parent == tmp_path
    assert "in break_down" in Path(trace).read_text(encoding="utf-8")


def test_a_bug_is_told_where_its_trace_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(**_: object) -> None:
        raise RuntimeError("this cannot be")

    monkeypatch.setattr(app.cli, "main", break_down)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    assert app.run([]) == 70
    err = capsys.readouterr().err
    assert "in break_down" in err
    assert "error[PVB900]: internal error: RuntimeError: this cannot be\nhint: please report it with the trace" in err
