"""Disk images as the raw disk that they stand for, whatever their format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from podvm_builder.formats.qcow2 import MAGIC, Qcow2Reader
from podvm_builder.model.reader import BinaryReader
from podvm_builder.tools.files import FileReader


@contextmanager
def open_disk(path: Path) -> Iterator[BinaryReader]:
    """Open a raw or qcow2 image, or any other file as it is.

    Raises:
        InputError: PVB320, it cannot be read.
        FormatError: PVB258, a qcow2 image that is damaged or needs what is not read here.
    """
    with FileReader(path) as file:
        yield Qcow2Reader(file) if file.read_at(0, min(4, file.size)) == MAGIC else file
