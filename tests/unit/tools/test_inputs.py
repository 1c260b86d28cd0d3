"""Files that a user names: regular ones and the shell's pipes are read, and nothing is waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podvm_builder.cli.input_files import hash_file, read_file
from podvm_builder.cli.source import find_components, read_profile
from podvm_builder.errors import InputError
from podvm_builder.guest.components import COMPONENTS
from podvm_builder.tools.inputs import open_input
from podvm_builder.tools.output import read_output


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_what_would_never_begin_or_end_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file.yaml"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    for read in (
        open_input,
        lambda path: read_file(path, limit=10),
        lambda path: hash_file(path, limit=10, what="kernel"),
    ):
        with pytest.raises(InputError, match="is not a regular file") as caught:
            read(path)
        assert caught.value.code == "PVB320"
        assert str(path) in caught.value.message
    with pytest.raises(InputError, match="the profile is not a regular file") as caught:
        read_profile(path)
    assert caught.value.code == "PVB121"


def test_a_component_that_is_a_fifo_is_refused(tmp_path: Path) -> None:
    for component in COMPONENTS:
        os.mkfifo(tmp_path / component.name)
    with pytest.raises(InputError, match="not a regular file") as caught:
        find_components(str(tmp_path), tmp_path, anywhere=True)
    assert caught.value.code == "PVB122"


def test_the_pipe_of_a_shell_is_read_to_its_end() -> None:
    content = bytes(range(256)) * 64
    reader, writer = os.pipe()
    try:
        os.write(writer, content)
        os.close(writer)
        assert read_file(f"/dev/fd/{reader}", limit=1 << 20) == content
    finally:
        os.close(reader)


def test_a_document_that_becomes_a_fifo_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at a name and the opening of it, another program may change what it stands for."""
    os.mkfifo(tmp_path / "manifest.json")
    monkeypatch.setattr("podvm_builder.tools.output.output_file", lambda folder, name: folder / name)
    with pytest.raises(InputError, match="is not a regular file") as caught:
        read_output(tmp_path, "manifest.json")
    assert caught.value.code == "PVB500"
