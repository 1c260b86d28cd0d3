"""Unified kernel images: a systemd-stub PE with the kernel, initrd and command line as sections.

Specification: UAPI Group "Unified Kernel Image"; section contents as systemd-stub takes them from the loaded image:
``VirtualSize`` bytes, zero-filled where the file holds fewer, cut where it holds more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from podvm_builder.errors import FormatError
from podvm_builder.formats.pe import EFI_APPLICATION, PeImage, PeSection, parse_pe
from podvm_builder.formats.readers import Extent, ExtentReader, read_all
from podvm_builder.model.reader import BinaryReader

CODE = "PVB241"

SECTIONS = (
    ".linux",
    ".osrel",
    ".cmdline",
    ".initrd",
    ".ucode",
    ".splash",
    ".dtb",
    ".uname",
    ".sbat",
    ".pcrsig",
    ".pcrpkey",
    ".profile",
    ".dtbauto",
    ".hwids",
    ".efifw",
)
"""Sections that some systemd-stub knows, in the order of its table, which is the order of measuring."""

MEASURED_SINCE = {".uname": 254, ".sbat": 254, ".ucode": 256, ".profile": 257, ".hwids": 257}
"""First major version of systemd-stub that knows a section; those that are not named here are as old as measuring."""

BY_MACHINE = (".dtbauto", ".efifw")
"""Sections that may stand in an image several times: the stub takes the one for its machine, if any."""

MAX_ZERO_FILL = 256 << 20
"""Bytes that a section may be longer in memory than in the file; real ones differ by less than a page."""

_MAGIC = re.compile(rb"#### LoaderInfo: systemd-stub ([0-9]+)([^ #]*) ####")
_KERNEL_VERSION = re.compile(r"([0-9]+)\.([0-9]+)[^ ]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Uki:
    """A unified kernel image, its contents not yet read."""

    reader: BinaryReader
    image: PeImage
    sections: Mapping[str, ExtentReader]
    """Non-empty sections of :data:`SECTIONS` by name, as the stub sees them in memory. In an image with profiles: the
    base sections and over them those of the first profile, which is the one that is booted if none is asked for. Of
    :data:`BY_MACHINE` the first."""
    profiles: int
    """How many profiles there are; 0 in an image without."""
    stub: str | None
    """The stub's version as it stands in ``.sdmagic``, e.g. ``257.13-1~deb13u1``; None without that section."""
    kernel: str | None
    """The kernel's version, from the x86 boot protocol's header or else from ``.uname``."""

    @property
    def stub_version(self) -> int | None:
        """The stub's major version."""
        return _major(self.stub)

    @property
    def kernel_release(self) -> tuple[int, int] | None:
        """The first two numbers of the kernel's version."""
        match = _KERNEL_VERSION.match(self.kernel or "")
        return (int(match[1]), int(match[2])) if match else None

    def text(self, name: str) -> bytes:
        """Return a small section's bytes, empty where there is none.

        Raises:
            FormatError: the section is larger than 1 MiB.
        """
        content = self.sections.get(name)
        if content is None:
            return b""
        if content.size > 1 << 20:
            raise _error(f"section `{name}` has {content.size} bytes; at most 1 MiB is credible")
        return read_all(content)


def parse_uki(reader: BinaryReader) -> Uki:
    """Read the headers and small sections of a unified kernel image.

    Raises:
        FormatError: not a PE image, not an EFI application, no ``.linux`` section, a section twice without
            ``.profile`` between, or sections that overlap in memory.
    """
    image = parse_pe(reader)
    if image.subsystem != EFI_APPLICATION:
        raise _error(f"subsystem {image.subsystem} is not an EFI application")
    stub = _stub(reader, image)
    _check_memory(image, _major(stub))
    # a `.profile` section begins a profile, which lasts to the next one; what stands before the first is the base
    parts: list[dict[str, ExtentReader]] = [{}]
    for section in image.sections:
        if section.name not in SECTIONS or not section.virtual_size:
            continue
        if section.name == ".profile":
            parts.append({})
        if section.name in BY_MACHINE and section.name in parts[-1]:
            continue
        if section.name in parts[-1]:
            raise _error(f"section `{section.name}` stands there twice")
        parts[-1][section.name] = section_content(reader, section)
    sections = parts[0] | (parts[1] if len(parts) > 1 else {})
    if ".linux" not in sections:
        raise _error("no `.linux` section: not a unified kernel image")
    uname = sections.get(".uname")
    return Uki(
        reader=reader,
        image=image,
        sections=sections,
        profiles=len(parts) - 1,
        stub=stub,
        kernel=kernel_version(sections[".linux"])
        or (read_all(uname).rstrip(b"\0\n ").decode("ascii", "replace") if uname and uname.size < 256 else None),
    )


def kernel_version(kernel: BinaryReader) -> str | None:
    """Return the version in a bzImage's setup header, or None where there is no such header.

    Specification: Linux ``Documentation/arch/x86/boot.rst``: ``HdrS`` at 0x202, at 0x20E a u16 that is the offset,
    less 0x200, of a NUL-terminated text.
    """
    if kernel.size < 0x210 or kernel.read_at(0x202, 4) != b"HdrS":
        return None
    start = int.from_bytes(kernel.read_at(0x20E, 2), "little") + 0x200
    if start == 0x200 or start >= kernel.size:
        return None
    text = kernel.read_at(start, min(256, kernel.size - start)).split(b"\0")[0]
    return text.decode("ascii", "replace") or None


def section_content(reader: BinaryReader, section: PeSection) -> ExtentReader:
    """Return a section's bytes as they stand in memory once the image is loaded.

    Raises:
        FormatError: it is much longer in memory than in the file.
    """
    held = min(section.virtual_size, section.raw_size)
    fill = section.virtual_size - held
    if fill > MAX_ZERO_FILL:
        raise _error(f"section `{section.name}` is {fill} bytes longer in memory than in the file")
    return ExtentReader(reader, (Extent(section.raw_offset, held), Extent(None, fill)))


def _check_memory(image: PeImage, version: int | None) -> None:
    """Refuse sections that overlap in memory, where the stub uses one of them: it gets what the last one left there.

    ukify 255 and newer make the stub's `.sbat` longer in its place; in that of systemd 252 it then reaches into
    `.sdmagic`. Firmware loads sections in the table's order and such a stub uses neither, so that this is harmless.
    """

    def used(section: PeSection) -> bool:
        since = MEASURED_SINCE.get(section.name, 0)
        return section.name in SECTIONS and (version is None or version >= since)

    before: PeSection | None = None
    end = 0
    for section in sorted(image.sections, key=lambda section: section.virtual_address):
        if section.virtual_size == 0:
            continue
        if before is not None and section.virtual_address < end and (used(before) or used(section)):
            raise _error(f"section `{section.name}` overlaps another one in memory")
        if section.virtual_address + section.virtual_size > end:
            before, end = section, section.virtual_address + section.virtual_size
    if end > image.size_of_image:
        raise _error(f"a section ends behind `SizeOfImage` ({image.size_of_image})")


def _major(stub: str | None) -> int | None:
    match = re.match(r"[0-9]+", stub or "")
    return int(match[0]) if match else None


def _stub(reader: BinaryReader, image: PeImage) -> str | None:
    section = image.section(".sdmagic")
    if section is None or not 0 < section.virtual_size <= 4096:
        return None
    match = _MAGIC.search(read_all(section_content(reader, section)))
    return (match[1] + match[2]).decode("ascii", "replace") if match else None


def _error(what: str) -> FormatError:
    return FormatError(f"UKI: {what}", code=CODE)
