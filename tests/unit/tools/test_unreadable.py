"""Errors about files that cannot be read: each says what to look at."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from podvm_builder.errors import Place
from podvm_builder.tools.unreadable import unreadable


@pytest.mark.parametrize(
    ("number", "name", "hint"),
    [
        (errno.ENOENT, "absent", "see what is there: ls {folder}"),
        (errno.ENOENT, "no/such/folder", "see what is there: ls {folder}"),
        (errno.ENOTDIR, "file/x", "see what is there: ls {folder}"),
        (errno.EISDIR, "", "give a file, not a folder"),
        (errno.EACCES, "a b", "see what it is and who may read it: ls -ld '{folder}/a b'"),
    ],
)
def test_a_hint_for_each_reason(tmp_path: Path, number: int, name: str, hint: str) -> None:
    (tmp_path / "file").touch()
    error = unreadable(tmp_path / name, OSError(number, os.strerror(number)))
    assert error.code == "PVB320"
    assert error.message == f"cannot read `{tmp_path / name}`: {os.strerror(number)}"
    assert error.hint == hint.format(folder=tmp_path)


def test_a_file_with_a_page_and_a_place_of_its_own() -> None:
    place = Place(file="acme.yaml")
    error = unreadable("acme.yaml", OSError(5, "broken"), what="the profile", code="PVB121", place=place)
    assert (error.message, error.code, error.place) == ("cannot read the profile: broken", "PVB121", place)
