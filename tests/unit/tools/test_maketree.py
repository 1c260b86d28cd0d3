"""Making the tools tree: what is left, and said, where it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import BuildFailed, Lacking
from podvm_builder.tools import maketree, sandbox, userns
from podvm_builder.tools.maketree import make_tree
from podvm_builder.tools.mirror import Mirrors

MIRRORS = Mirrors(archive="http://mirror.invalid/debian", security=None, options=(), origin="a test")


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mmdebstrap of the test's; its text is the test's to write."""
    try:
        userns.check()
    except Lacking as error:
        pytest.skip(f"a tree cannot be made here: {error.message}")
    program = tmp_path / "mmdebstrap"
    program.touch(mode=0o755)
    monkeypatch.setattr(maketree, "find", lambda _: str(program))
    monkeypatch.setattr(maketree, "find_mirrors", lambda _, suite: MIRRORS)
    return program


def test_a_failure_is_told_in_the_program_s_words(bootstrap: Path, tmp_path: Path) -> None:
    bootstrap.write_text("#!/bin/sh\necho 'I: installing'\necho 'E: something new is wrong'\nexit 7\n")
    lines: list[str] = []
    with pytest.raises(BuildFailed) as caught:
        make_tree(catalogue().tools, cache=tmp_path / "cache", progress=lines.append, mirror=None)
    assert caught.value.code == "PVB315"
    assert caught.value.message == "mmdebstrap failed with exit status 7: E: something new is wrong"
    assert "  installing" in lines
    assert list((tmp_path / "cache/tools").iterdir()) == []


def test_a_folder_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = tmp_path / "refuse"
    refuse.write_text("#!/bin/sh\necho 'rm: it is busy' >&2\nexit 1\n")
    refuse.chmod(0o755)
    monkeypatch.setattr(userns, "prefix", lambda: [str(refuse)])
    with pytest.raises(Lacking, match=f"cannot remove `{tmp_path}`: rm: it is busy") as caught:
        sandbox.remove(tmp_path)
    assert caught.value.code == "PVB312"
    sandbox.remove(tmp_path / "absent")
