"""Reading an initdata document that an argument names."""

from __future__ import annotations

from podvm_builder.cli.input_files import named, read_file
from podvm_builder.formats.initdata import MAX_TOML, Initdata, read_initdata


def read_initdata_file(file: str) -> Initdata:
    """Return the document of a file, plain or as an annotation carries it.

    Raises:
        InputError: PVB320, the file cannot be read.
        FormatError: PVB417, it is no initdata; the place names the file.
    """
    with named(file):
        return read_initdata(read_file(file, limit=2 * MAX_TOML))
