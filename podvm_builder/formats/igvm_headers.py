"""The variable headers of IGVM files: u32 type, u32 length, a payload padded to 8 bytes.

Platforms come first, then what prepares the guest, then directives, which place its memory in their order.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from podvm_builder.errors import FormatError
from podvm_builder.formats.igvm_values import (
    SNP,
    Directive,
    GuestPolicy,
    PageData,
    ParameterInsert,
    Platform,
    SnpIdBlock,
    VpContext,
)
from podvm_builder.formats.ovmf import PAGE

CODE = "PVB236"
MAX_MEMORY = 1 << 30
"""Bytes of guest memory that one file may describe: zero pages take no room in it, and cost time all the same."""
ADDRESS_LIMIT = 1 << 52
"""Guest physical addresses have at most 52 bits."""
LARGE_PAGE = 2 << 20
OPTIONAL = 1 << 31
"""Bit of a header type: whoever does not know the type may ignore the header."""

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


class HeaderReader:
    """The variable headers of one file, read from the first to the last."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        """Read nothing yet; the headers lie from ``start`` to ``end`` in ``data``."""
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
        """Types of optional headers that are not known here."""

    def read(self) -> None:
        """Read all headers.

        Raises:
            FormatError: see :func:`podvm_builder.formats.igvm.read_igvm`.
        """
        at, section = self._start, 0
        while at < self._end:
            if self._end - at < _VARIABLE.size:
                raise igvm_error("a variable header is cut short", at)
            kind, length = _VARIABLE.unpack_from(self._data, at)
            payload = at + _VARIABLE.size
            if payload + length > self._end:
                raise igvm_error(f"a variable header of {length:#x} bytes leaves the headers", at)
            own = kind & ~OPTIONAL
            now = next((i for i, (low, high, _) in enumerate(_RANGES) if low <= own <= high), section)
            if now < section:
                raise igvm_error(f"{_RANGES[now][2]} header after the first {_RANGES[section][2]} header", at)
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
                raise igvm_error(f"unknown header type {kind:#x}, which is not optional", at)
            self.ignored.append(own)

    def _policy(self, at: int, payload: bytes) -> None:
        policy, mask, _ = _unpack(_POLICY, payload, "guest policy", at)
        self.policies.append(GuestPolicy(mask=mask, policy=policy))

    def _platform(self, at: int, payload: bytes) -> None:
        mask, _, kind, _, _ = _unpack(_PLATFORM, payload, "platform", at)
        if mask.bit_count() != 1 or any(mask == platform.mask for platform in self.platforms):
            raise igvm_error(f"compatibility mask {mask:#x} is not one bit of the platform's own", at)
        if any(kind == platform.kind for platform in self.platforms):
            raise igvm_error(f"platform type {kind} twice", at)
        self.platforms.append(Platform(mask=mask, kind=kind))

    def _area(self, at: int, payload: bytes) -> None:
        size, index, _ = _unpack(_AREA, payload, "parameter area", at)
        if index in self._areas:
            raise igvm_error(f"parameter area {index} twice", at)
        if size % PAGE or not 0 < size <= MAX_MEMORY:
            raise igvm_error(f"a parameter area of {size:#x} bytes", at)
        self._areas[index] = size

    def _insert(self, at: int, payload: bytes) -> None:
        gpa, mask, index = _unpack(_INSERT, payload, "parameter insert", at)
        size = self._areas.get(index)
        if size is None:
            raise igvm_error(f"parameter area {index} is not there, or was inserted before", at)
        self._areas[index] = None
        self._take(gpa, size, PAGE, at)
        self.directives.append(ParameterInsert(offset=at, mask=mask, gpa=gpa, size=size))

    def _page(self, at: int, payload: bytes) -> None:
        gpa, mask, offset, flags, kind, _ = _unpack(_PAGE_DATA, payload, "page data", at)
        if flags >> 3 or kind > 3:
            raise igvm_error(f"page data with the unknown flags {flags:#x} or type {kind}", at)
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
            raise igvm_error(f"the SNP ID block header has {len(payload)} bytes, not {_ID_BLOCK_SIZE}", at)
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
            raise igvm_error(f"memory at {gpa:#x} of {size:#x} bytes is not aligned, or ends beyond 52 bits", at)
        self._room -= size
        if self._room < 0:
            raise igvm_error(f"more than {MAX_MEMORY >> 20} MiB of guest memory", at)

    def _file_data(self, offset: int, size: int, at: int) -> bytes:
        if offset < self._end or offset + size > len(self._data):
            raise igvm_error(f"data at {offset:#x} of {size:#x} bytes is not in the file's data", at)
        return self._data[offset : offset + size]


def _unpack(layout: struct.Struct, payload: bytes, name: str, at: int) -> tuple[int, ...]:
    if len(payload) != layout.size:
        raise igvm_error(f"a {name} header has {len(payload)} bytes, not {layout.size}", at)
    return layout.unpack(payload)


def igvm_error(what: str, offset: int | None = None) -> FormatError:
    """Return the error for bytes that are no IGVM file."""
    return FormatError(f"IGVM file: {what}", offset, code=CODE)
