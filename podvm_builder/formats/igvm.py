"""IGVM files: a fixed header, variable headers, and the file data that these point into.

The layout is that of Microsoft's ``igvm_defs`` 0.5 (format versions 1 and 2). All integers are little-endian, every
variable header starts with u32 type and u32 length and is padded to 8 bytes, and offsets into data count from the
start of the file. A header type with bit 31 set may be ignored by whoever does not know it; any other unknown type
is refused, because it may place what is measured.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from podvm_builder.errors import FormatError
from podvm_builder.formats.ovmf import PAGE

CODE = "PVB236"
MAX_FILE = 256 << 20
"""Bytes; known files have below 80 MiB."""
MAX_MEMORY = 1 << 30
"""Bytes of guest memory that one file may describe: zero pages take no room in it, and cost time all the same."""
ADDRESS_LIMIT = 1 << 52
"""Guest physical addresses have at most 52 bits."""
LARGE_PAGE = 2 << 20

SNP = 2
"""Platform type of SEV-SNP."""
OPTIONAL = 1 << 31
"""Bit of a header type: whoever does not know the type may ignore the header."""

_MAGIC = b"IGVM"
_FIXED = struct.Struct("<4sIIIII")
_FIXED_2 = struct.Struct("<II")
_VARIABLE = struct.Struct("<II")
_PLATFORM = struct.Struct("<IBBHQ")
_POLICY = struct.Struct("<QII")
_AREA = struct.Struct("<QII")
_PAGE_DATA = struct.Struct("<QIIIHH")
_INSERT = struct.Struct("<QII")
_CONTEXT = struct.Struct("<QIIHH")
_ID_BLOCK = struct.Struct("<IB3x48s16s16sIIII")
_ID_BLOCK_SIZE = _ID_BLOCK.size + 2 * (144 + 152)  # two signatures, two public keys

_SUPPORTED_PLATFORM = 0x1
_GUEST_POLICY = 0x101
_PARAMETER_AREA = 0x301
_PAGE = 0x302
_PARAMETER_INSERT = 0x303
_VP_CONTEXT = 0x304
_SNP_ID_BLOCK = 0x30B
_OF_NO_MATTER: Mapping[int, str] = {
    0x102: "relocatable region",
    0x103: "page table relocation",
    0x104: "CoRIM document",
    0x105: "CoRIM signature",
    0x106: "CCA policy",
    0x107: "version string",
    0x305: "required memory",
    0x307: "vCPU count",
    0x308: "SRAT",
    0x309: "MADT",
    0x30A: "MMIO ranges",
    0x30C: "memory map",
    0x30D: "error range",
    0x30E: "command line",
    0x30F: "SLIT",
    0x310: "PPTT",
    0x311: "VBS measurement",
    0x312: "device tree",
    0x313: "environment information",
}
"""Known headers that put no page into an SNP guest: hints to the loader, and fillings of unmeasured parameters."""
_RANGES = ((0x1, 0x100, "platform"), (0x101, 0x200, "initialization"), (0x301, 0x400, "directive"))
"""Types by section; headers of a later section do not return to an earlier one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A platform that the file supports."""

    mask: int
    """The one bit that headers for it have in their compatibility mask."""
    kind: int
    """0 native, 1 VSM, 2 SNP, 3 TDX, 4 SEV, 5 SEV-ES, 6 CCA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPolicy:
    """SNP's guest policy."""

    mask: int
    policy: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PageData:
    """Guest memory of one page, or of 2 MiB."""

    offset: int
    """Of its header in the file, as for all headers."""
    mask: int
    gpa: int
    kind: int
    """0 normal, 1 secrets, 2 CPUID, 3 CPUID_XF."""
    size: int
    unmeasured: bool
    shared: bool
    data: bytes | None
    """None: zeros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterInsert:
    """Guest memory that the loader fills with parameters, not measured."""

    offset: int
    mask: int
    gpa: int
    size: int
    """Of the parameter area."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VpContext:
    """The state that a vCPU starts with; for SNP a VMSA page."""

    offset: int
    mask: int
    gpa: int
    index: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpIdBlock:
    """The parts of an ID block that say what it is for."""

    offset: int
    mask: int
    launch_digest: bytes
    family_id: bytes
    image_id: bytes
    version: int
    guest_svn: int


Directive = PageData | ParameterInsert | VpContext | SnpIdBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class IgvmFile:
    """What a file says, headers in their order."""

    version: int
    platforms: tuple[Platform, ...]
    policies: tuple[GuestPolicy, ...]
    directives: tuple[Directive, ...]
    ignored: tuple[int, ...]
    """Types of the optional headers that are not known here."""

    def mask_of(self, kind: int) -> int | None:
        """Return the compatibility mask of a platform type, None where the file does not support it."""
        return next((platform.mask for platform in self.platforms if platform.kind == kind), None)


def read_igvm(data: bytes) -> IgvmFile:
    """Read a file.

    Raises:
        FormatError: another magic, version, architecture or page size; a size or checksum that is not the file's; a
            header that is unknown and not optional, of another length than its type's, outside its section, or
            pointing outside the file; pages that are not aligned, or more of them than any known file has.
    """
    if len(data) > MAX_FILE:
        raise _error(f"larger than {MAX_FILE >> 20} MiB")
    version, start, end = _fixed_header(data)
    reader = _Headers(data, start, end)
    reader.read()
    return IgvmFile(
        version=version,
        platforms=tuple(reader.platforms),
        policies=tuple(reader.policies),
        directives=tuple(reader.directives),
        ignored=tuple(dict.fromkeys(reader.ignored)),
    )


def _fixed_header(data: bytes) -> tuple[int, int, int]:
    """Return the format version, and where the variable headers begin and end."""
    if len(data) < _FIXED.size:
        raise _error("shorter than its header", 0)
    magic, version, start, size, total, checksum = _FIXED.unpack_from(data)
    if magic != _MAGIC:
        raise _error("does not start with `IGVM`", 0)
    if version not in (1, 2):
        raise _error(f"unknown format version {version}", 4)
    fixed = _FIXED.size
    if version == 2:
        fixed += _FIXED_2.size
        if len(data) < fixed:
            raise _error("shorter than its header", 0)
        architecture, page_size = _FIXED_2.unpack_from(data, _FIXED.size)
        if architecture != 0:
            raise _error(f"architecture {architecture} is not x86-64", 24)
        if page_size != PAGE:
            raise _error(f"pages of {page_size} bytes, not {PAGE}", 28)
    if total != len(data):
        raise _error(f"says {total} bytes and has {len(data)}", 16)
    if start < fixed or start % 8 or start + size > total:
        raise _error(f"variable headers cannot lie at {start:#x} with {size:#x} bytes", 8)
    counted = zlib.crc32(data[start : start + size], zlib.crc32(data[:20] + bytes(4) + data[24:fixed]))
    if counted != checksum:
        raise _error(f"checksum {checksum:#010x}, but its headers give {counted:#010x}", 20)
    return version, start, start + size


class _Headers:
    """The variable headers of one file, read from the first to the last."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data = data
        self._start = start
        self._end = end
        self._areas: dict[int, int | None] = {}
        """Size by index; None once it was inserted."""
        self._room = MAX_MEMORY
        self.platforms: list[Platform] = []
        self.policies: list[GuestPolicy] = []
        self.directives: list[Directive] = []
        self.ignored: list[int] = []

    def read(self) -> None:
        """Read all headers."""
        at, section = self._start, 0
        while at < self._end:
            if self._end - at < _VARIABLE.size:
                raise _error("a variable header is cut short", at)
            kind, length = _VARIABLE.unpack_from(self._data, at)
            payload = at + _VARIABLE.size
            if payload + length > self._end:
                raise _error(f"a variable header of {length:#x} bytes leaves the headers", at)
            own = kind & ~OPTIONAL
            now = next((i for i, (low, high, _) in enumerate(_RANGES) if low <= own <= high), section)
            if now < section:
                raise _error(f"{_RANGES[now][2]} header after the first {_RANGES[section][2]} header", at)
            section = now
            self._header(kind, at, self._data[payload : payload + length])
            at = payload + (length + 7 & ~7)

    def _header(self, kind: int, at: int, payload: bytes) -> None:
        own = kind & ~OPTIONAL
        known = {
            _SUPPORTED_PLATFORM: self._platform,
            _GUEST_POLICY: self._policy,
            _PARAMETER_AREA: self._area,
            _PAGE: self._page,
            _PARAMETER_INSERT: self._insert,
            _VP_CONTEXT: self._context,
            _SNP_ID_BLOCK: self._id_block,
        }.get(own)
        if known is not None:
            known(at, payload)
        elif own not in _OF_NO_MATTER:
            if not kind & OPTIONAL:
                raise _error(f"unknown header type {kind:#x}, which is not optional", at)
            self.ignored.append(own)

    def _policy(self, at: int, payload: bytes) -> None:
        policy, mask, _ = _unpack(_POLICY, payload, "guest policy", at)
        self.policies.append(GuestPolicy(mask=mask, policy=policy))

    def _platform(self, at: int, payload: bytes) -> None:
        mask, _, kind, _, _ = _unpack(_PLATFORM, payload, "platform", at)
        if mask.bit_count() != 1 or any(mask == platform.mask for platform in self.platforms):
            raise _error(f"compatibility mask {mask:#x} is not one bit of the platform's own", at)
        if any(kind == platform.kind for platform in self.platforms):
            raise _error(f"platform type {kind} twice", at)
        self.platforms.append(Platform(mask=mask, kind=kind))

    def _area(self, at: int, payload: bytes) -> None:
        size, index, _ = _unpack(_AREA, payload, "parameter area", at)
        if index in self._areas:
            raise _error(f"parameter area {index} twice", at)
        if size % PAGE or not 0 < size <= MAX_MEMORY:
            raise _error(f"a parameter area of {size:#x} bytes", at)
        self._areas[index] = size

    def _insert(self, at: int, payload: bytes) -> None:
        gpa, mask, index = _unpack(_INSERT, payload, "parameter insert", at)
        size = self._areas.get(index)
        if size is None:
            raise _error(f"parameter area {index} is not there, or was inserted before", at)
        self._areas[index] = None
        self._take(gpa, size, PAGE, at)
        self.directives.append(ParameterInsert(offset=at, mask=mask, gpa=gpa, size=size))

    def _page(self, at: int, payload: bytes) -> None:
        gpa, mask, offset, flags, kind, _ = _unpack(_PAGE_DATA, payload, "page data", at)
        if flags >> 3 or kind > 3:
            raise _error(f"page data with the unknown flags {flags:#x} or type {kind}", at)
        size = LARGE_PAGE if flags & 1 else PAGE
        self._take(gpa, size, size, at)
        self.directives.append(
            PageData(
                offset=at,
                mask=mask,
                gpa=gpa,
                kind=kind,
                size=size,
                unmeasured=bool(flags & 2),
                shared=bool(flags & 4),
                data=self._file_data(offset, size, at) if offset else None,
            )
        )

    def _context(self, at: int, payload: bytes) -> None:
        gpa, mask, offset, index, _ = _unpack(_CONTEXT, payload, "vCPU context", at)
        # other platforms have contexts of another form; what is no whole page there is none of ours
        wanted = any(platform.kind == SNP and platform.mask & mask for platform in self.platforms)
        if not wanted:
            return
        self._take(gpa, PAGE, PAGE, at)
        self.directives.append(
            VpContext(offset=at, mask=mask, gpa=gpa, index=index, data=self._file_data(offset, PAGE, at))
        )

    def _id_block(self, at: int, payload: bytes) -> None:
        if len(payload) != _ID_BLOCK_SIZE:
            raise _error(f"the SNP ID block header has {len(payload)} bytes, not {_ID_BLOCK_SIZE}", at)
        mask, _, digest, family, image, version, svn, _, _ = _ID_BLOCK.unpack_from(payload)
        self.directives.append(
            SnpIdBlock(
                offset=at,
                mask=mask,
                launch_digest=digest,
                family_id=family,
                image_id=image,
                version=version,
                guest_svn=svn,
            )
        )

    def _take(self, gpa: int, size: int, alignment: int, at: int) -> None:
        if gpa % alignment or gpa + size > ADDRESS_LIMIT:
            raise _error(f"memory at {gpa:#x} of {size:#x} bytes is not aligned, or ends beyond 52 bits", at)
        self._room -= size
        if self._room < 0:
            raise _error(f"more than {MAX_MEMORY >> 20} MiB of guest memory", at)

    def _file_data(self, offset: int, size: int, at: int) -> bytes:
        if offset < self._end or offset + size > len(self._data):
            raise _error(f"data at {offset:#x} of {size:#x} bytes is not in the file's data", at)
        return self._data[offset : offset + size]


def _unpack(layout: struct.Struct, payload: bytes, name: str, at: int) -> tuple[int, ...]:
    if len(payload) != layout.size:
        raise _error(f"a {name} header has {len(payload)} bytes, not {layout.size}", at)
    return layout.unpack(payload)


def _error(what: str, offset: int | None = None) -> FormatError:
    return FormatError(f"IGVM file: {what}", offset, code=CODE)
