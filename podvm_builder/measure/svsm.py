"""An SVSM given as an image of its own, below the firmware: COCONUT's way before IGVM files.

The SVSM ends where the firmware's variable store begins. It has an OVMF-like table with SEV metadata of its own,
which then counts instead of the firmware's, and an entry point relative to its start, at which every vCPU begins.
"""

from __future__ import annotations

from typing import NamedTuple

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.ovmf import FOUR_GIB, MAX_IMAGE, PAGE, SVSM_INFO, U32, check_image, read_table, table_entry
from podvm_builder.formats.sev_metadata import SevSection, read_sev_sections

CODE = "PVB238"
_WHAT = "give an `svsm.bin` of COCONUT; an IGVM file is measured with `--igvm`"


class Svsm(NamedTuple):
    """An SVSM where it lies in guest memory."""

    image: bytes
    vars_size: int
    """Bytes between its end and the firmware: the variable store, which is not measured."""
    gpa: int
    start: int
    """Guest address at which vCPUs begin."""
    sections: tuple[SevSection, ...]


def place_svsm(image: bytes, firmware: bytes, *, vars_size: int) -> Svsm:
    """Read an SVSM that lies ``vars_size`` bytes below the firmware.

    Raises:
        FormatError: not whole pages, without its table, its metadata or its entry point.
        InputError: the variable store is not whole pages, or has more of them than any firmware.
    """
    if vars_size < 0 or vars_size % PAGE or vars_size > MAX_IMAGE:
        raise InputError(
            f"a variable store has whole pages and at most {MAX_IMAGE >> 20} MiB, not {vars_size} bytes", code=CODE
        )
    check_image(firmware)
    end = FOUR_GIB - len(firmware) - vars_size
    table = read_table(image)
    sections = read_sev_sections(image, table, end=end)
    if sections is None:
        raise FormatError("SVSM: no SEV metadata", code=CODE, hint=_WHAT)
    info = table_entry(table, SVSM_INFO, U32.size)
    if info is None:
        raise FormatError("SVSM: its table says no entry point", code=CODE, hint=_WHAT)
    (entry,) = U32.unpack(info.data)
    if entry >= len(image):
        raise FormatError(f"SVSM: the entry point {entry:#x} lies outside it", info.offset, code=CODE)
    gpa = end - len(image)
    return Svsm(image=image, vars_size=vars_size, gpa=gpa, start=gpa + entry, sections=sections)
