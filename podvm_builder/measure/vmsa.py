"""The VMSA page: the register state that a vCPU starts with, as SNP and SEV-ES measure it.

Offsets are those of the save area in AMD's APM, volume 2, appendix B, table B-4. What is not written is zero.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from podvm_builder.formats.ovmf import PAGE
from podvm_builder.measure.vmm import Vmm

RESET_VECTOR = 0xFFFF_FFF0
"""Where the first vCPU starts."""

_Segment = tuple[int, int, int, int]
"""Selector, attributes, limit and base."""

_SEGMENT = struct.Struct("<HHIQ")
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")

_DATA: _Segment = (0, 0x93, 0xFFFF, 0)
_TABLES: Mapping[int, _Segment] = {
    0x060: (0, 0, 0xFFFF, 0),  # GDTR
    0x070: (0, 0x82, 0xFFFF, 0),  # LDTR
    0x080: (0, 0, 0xFFFF, 0),  # IDTR
}
"""Descriptor tables as they are after a reset, by offset."""
_FLAT_DATA: _Segment = (16, 0xC93, 0xFFFF_FFFF, 0)
_SVSM_SEGMENTS: Mapping[int, _Segment] = {
    **_TABLES,
    0x000: _FLAT_DATA,  # ES
    0x010: (8, 0xC9B, 0xFFFF_FFFF, 0),  # CS
    0x020: _FLAT_DATA,  # SS
    0x030: _FLAT_DATA,  # DS
    0x040: _FLAT_DATA,  # FS
    0x050: _DATA,  # GS
    0x090: (0, 0x8B, 0xFFFF, 0),  # TR
}

_FIXED = {
    0x0D0: 0x1000,  # EFER: SVME
    0x148: 0x40,  # CR4: MCE
    0x160: 0x400,  # DR7
    0x168: 0xFFFF_0FF0,  # DR6
    0x170: 0x2,  # RFLAGS
    0x3E8: 0x1,  # XCR0: x87
}
"""64-bit registers that every VMM sets alike, by offset."""
_REAL_MODE = 0x10  # CR0: ET
_PROTECTED_MODE = 0x11  # CR0: ET, PE


def vmsa_page(vmm: Vmm, *, start: int, first: bool, signature: int, guest_features: int) -> bytes:
    """Return the page of one vCPU that starts in firmware, 4096 bytes.

    Args:
        vmm: whose reset state it is.
        start: 32-bit address at which the vCPU starts; its upper half becomes CS's base.
        first: whether it is the boot processor.
        signature: CPUID leaf 1, EAX; used where the VMM puts it into RDX.
        guest_features: SEV_FEATURES, 64 bits.
    """
    reset = vmm.reset
    segments = {
        **_TABLES,
        **dict.fromkeys((0x000, 0x030, 0x040, 0x050), _DATA),  # ES, DS, FS, GS
        0x010: (0xF000, reset.cs_attributes if first else reset.cs_attributes_ap, 0xFFFF, start & 0xFFFF_0000),
        0x020: (0, reset.ss_attributes, 0xFFFF, 0),
        0x090: (0, reset.tr_attributes, 0xFFFF, 0),
    }
    return _page(vmm, segments, cr0=_REAL_MODE, rip=start & 0xFFFF, signature=signature, guest_features=guest_features)


def svsm_vmsa_page(vmm: Vmm, *, start: int, signature: int, guest_features: int) -> bytes:
    """Return the page of a vCPU that starts in an SVSM, 4096 bytes: 32-bit protected mode with flat segments.

    The state is the one that COCONUT's QEMU sets; arguments are those of :func:`vmsa_page`.
    """
    return _page(
        vmm, _SVSM_SEGMENTS, cr0=_PROTECTED_MODE, rip=start, signature=signature, guest_features=guest_features
    )


def _page(
    vmm: Vmm, segments: Mapping[int, _Segment], *, cr0: int, rip: int, signature: int, guest_features: int
) -> bytes:
    page = bytearray(PAGE)
    reset = vmm.reset
    for offset, segment in segments.items():
        _SEGMENT.pack_into(page, offset, *segment)
    for offset, value in _FIXED.items():
        _U64.pack_into(page, offset, value)
    _U64.pack_into(page, 0x158, cr0)
    _U64.pack_into(page, 0x178, rip)
    _U64.pack_into(page, 0x268, reset.pat)
    _U64.pack_into(page, 0x310, signature if reset.rdx is None else reset.rdx)
    _U64.pack_into(page, 0x3B0, guest_features)
    _U32.pack_into(page, 0x408, reset.mxcsr)
    _U16.pack_into(page, 0x410, reset.fcw)
    return bytes(page)
