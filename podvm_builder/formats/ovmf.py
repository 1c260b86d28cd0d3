"""OVMF images: the GUIDed table at the end, and what its entries say.

The table ends 32 bytes before the end of the image, below the reset vector (edk2
``OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm``). Its last entry is the table's own, and an entry's length
and GUID *follow* its data, so it is read downwards. All integers are little-endian; every offset and size is
checked against the image before it is used.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

from podvm_builder.errors import FormatError
from podvm_builder.formats.guid import guid_bytes, guid_text

PAGE = 4096
"""Bytes of a page; every launch measurement counts in these."""
FOUR_GIB = 1 << 32
"""An image ends here in guest memory, at the reset vector."""
MAX_IMAGE = 16 << 20
"""Bytes; QEMU refuses a larger ``max-fw-size``."""
MAX_SECTIONS = 256
"""Sections of one table; known firmware has below 10, and a hostile table must not cost minutes."""
MAX_MEMORY = 64 << 20
"""Bytes that one table's sections may add up to; known firmware stays below 8 MiB."""

FOOTER = "96b582de-1fb2-45f7-baea-a366c55a082d"
SEV_ES_RESET = "00f771de-1a7e-4fcb-890e-68c77e2fb44e"
SEV_SECRET = "4c2eb361-7d9b-4cc3-8081-127c90d3d294"  # noqa: S105 - a GUID
SEV_HASH_TABLE = "7255371f-3a3b-4b04-927b-1da6efa8d454"
SEV_METADATA = "dc886566-984a-4798-a75e-5585a7bf67cc"
TDX_METADATA = "e47a6535-984a-4798-865e-4685a7bf8ec2"
IGVM_PARAMETERS = "784fa70e-3176-4677-8a20-04b68699e374"
SVSM_INFO = "a789a612-0597-4c4b-a49f-cbb1fe9d1ddd"

KNOWN_ENTRIES: Mapping[str, str] = {
    SEV_ES_RESET: "SEV-ES reset block",
    SEV_SECRET: "SEV secret block",
    SEV_HASH_TABLE: "SEV hash table block",
    SEV_METADATA: "SEV metadata",
    TDX_METADATA: "TDX metadata",
    IGVM_PARAMETERS: "IGVM parameter area",
    SVSM_INFO: "SVSM info",
}
"""Entries of the table that are known here, by GUID; not all of them move a measurement."""

_BELOW_RESET_VECTOR = 32
_TRAILER = struct.Struct("<H16s")
U32 = struct.Struct("<I")
"""What most entries hold: a little-endian address, or a distance from the end of the image."""
_TWO_U32 = struct.Struct("<II")


class TableEntry(NamedTuple):
    """One entry of the GUIDed table."""

    guid: str
    offset: int
    """Of the data, from the start of the image."""
    data: bytes


class HashTableArea(NamedTuple):
    """Guest memory that the firmware reserves for the kernel hash table."""

    gpa: int
    size: int


def check_image(image: bytes) -> None:
    """Check what can be checked before any structure is read.

    Raises:
        FormatError: empty, larger than any VMM takes, or not whole pages.
    """
    size = len(image)
    if size == 0:
        raise FormatError("firmware: the file is empty", code="PVB220")
    if size > MAX_IMAGE:
        raise FormatError(f"firmware: larger than {MAX_IMAGE >> 20} MiB, which no VMM loads", code="PVB220")
    if size % PAGE:
        raise FormatError(
            f"firmware: {size} bytes are not a multiple of {PAGE}",
            code="PVB220",
            hint="the file may be cut short, or not firmware at all",
        )


def read_table(image: bytes) -> tuple[TableEntry, ...]:
    """Return the entries of the GUIDed table, from the top down, without the footer.

    Raises:
        FormatError: not whole pages, no table, an entry that leaves the table, or a known GUID twice.
    """
    check_image(image)
    footer = len(image) - _BELOW_RESET_VECTOR - _TRAILER.size
    total, guid = _TRAILER.unpack_from(image, footer)
    if guid != guid_bytes(FOOTER):
        raise FormatError(
            "firmware: no OVMF table below the reset vector",
            footer + 2,
            code="PVB221",
            hint="give an OVMF image that holds code, such as OVMF.fd; a variable store or another firmware has none",
        )
    start = footer + _TRAILER.size - total
    if total < _TRAILER.size or start < 0:
        raise FormatError(f"firmware: the OVMF table cannot be {total} bytes long", footer, code="PVB221")
    entries: list[TableEntry] = []
    end = footer
    while end > start:
        trailer = end - _TRAILER.size
        length, guid = _TRAILER.unpack_from(image, trailer) if trailer >= start else (0, b"")
        if length < _TRAILER.size or end - length < start:
            raise FormatError(
                "firmware: an entry of the OVMF table leaves the table", max(trailer, start), code="PVB221"
            )
        entries.append(TableEntry(guid=guid_text(guid), offset=end - length, data=image[end - length : trailer]))
        end -= length
    known = [entry.guid for entry in entries if entry.guid in KNOWN_ENTRIES]
    if len(known) != len(set(known)):
        raise FormatError("firmware: the OVMF table holds the same entry twice", start, code="PVB221")
    return tuple(entries)


def unknown_entries(table: tuple[TableEntry, ...]) -> tuple[str, ...]:
    """Return the GUIDs of the table that are not known here; they are ignored, as VMMs ignore them."""
    return tuple(entry.guid for entry in table if entry.guid not in KNOWN_ENTRIES)


def ap_reset_address(table: tuple[TableEntry, ...]) -> int | None:
    """Return the address at which application processors start, None where the firmware has no reset block.

    Raises:
        FormatError: the entry has another size than a u32.
    """
    entry = table_entry(table, SEV_ES_RESET, U32.size)
    return None if entry is None else int(U32.unpack(entry.data)[0])


def hash_table_area(table: tuple[TableEntry, ...]) -> HashTableArea | None:
    """Return where the firmware wants the kernel hash table, None where it takes none (no entry, or address 0).

    Raises:
        FormatError: the entry has another size than two u32, or the area leaves the first 4 GiB.
    """
    entry = table_entry(table, SEV_HASH_TABLE, _TWO_U32.size)
    if entry is None:
        return None
    gpa, size = _TWO_U32.unpack(entry.data)
    if gpa == 0:
        return None
    if gpa + size > FOUR_GIB:
        raise FormatError("firmware: the kernel hash table's area leaves the first 4 GiB", entry.offset, code="PVB222")
    return HashTableArea(gpa=gpa, size=size)


def table_entry(table: tuple[TableEntry, ...], guid: str, size: int) -> TableEntry | None:
    """Return an entry of a known GUID, whose data must have ``size`` bytes; None where the table has none.

    Raises:
        FormatError: the data has another size.
    """
    for entry in table:
        if entry.guid == guid:
            if len(entry.data) != size:
                raise FormatError(
                    f"firmware: the {KNOWN_ENTRIES[guid]} entry has {len(entry.data)} bytes, not {size}",
                    entry.offset,
                    code="PVB221",
                )
            return entry
    return None


def metadata_start(image: bytes, entry: TableEntry, header: int, name: str, code: str) -> int:
    """Return the offset of metadata that an entry places by its distance from the end of the image.

    Raises:
        FormatError: a header of that many bytes would not be inside the image.
    """
    from_end = int(U32.unpack(entry.data)[0])
    if not header <= from_end <= len(image):
        raise FormatError(
            f"firmware: {name} metadata lies {from_end:#x} bytes before the end of a {len(image):#x}-byte image",
            entry.offset,
            code=code,
        )
    return len(image) - from_end


class GuestMemory:
    """The guest memory that one table's sections take: whole pages below 4 GiB, each page once."""

    def __init__(self, code: str) -> None:
        """Start with nothing taken; errors carry ``code``."""
        self._code = code
        self._taken: list[tuple[int, int, str]] = []
        self._room = MAX_MEMORY

    def reserve_image(self, image: bytes, end: int = FOUR_GIB) -> None:
        """Take what the image itself occupies, where its pages are added on their own; it ends at ``end``."""
        self._taken.append((end - len(image), end, "the firmware image"))

    def take(self, name: str, *, gpa: int, size: int, at: int) -> None:
        """Take a section's memory, if it has any; ``at`` is the section's offset in the image.

        Raises:
            FormatError: not whole pages, past 4 GiB, taken already, or more than :data:`MAX_MEMORY` in all.
        """
        if not size:
            return
        what = f"firmware: {name} at {gpa:#x} of {size:#x} bytes"
        if gpa % PAGE or size % PAGE:
            raise FormatError(f"{what} is not whole pages", at, code=self._code)
        if gpa + size > FOUR_GIB:
            raise FormatError(f"{what} leaves the first 4 GiB", at, code=self._code)
        for start, end, other in self._taken:
            if gpa < end and start < gpa + size:
                raise FormatError(f"{what} overlaps {other} at {start:#x}", at, code=self._code)
        self._room -= size
        if self._room < 0:
            raise FormatError(
                f"{what} makes more than {MAX_MEMORY >> 20} MiB in all, which no known firmware has",
                at,
                code=self._code,
            )
        self._taken.append((gpa, gpa + size, name))
