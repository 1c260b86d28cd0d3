"""The VMSA page: the register state that a vCPU starts with, as SNP measures it.

Offsets are those of the save area in AMD's APM, volume 2, appendix B, table B-4. What is not written is zero.
"""

from __future__ import annotations

import struct

from podvm_builder.formats.ovmf import PAGE
from podvm_builder.measure.vmm import Vmm

RESET_VECTOR = 0xFFFF_FFF0
"""Where the first vCPU starts."""

_SEGMENT = struct.Struct("<HHIQ")
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")

_DATA = (0x93, 0xFFFF)
_FIXED_SEGMENTS = {
    0x000: _DATA,  # ES
    0x030: _DATA,  # DS
    0x040: _DATA,  # FS
    0x050: _DATA,  # GS
    0x060: (0, 0xFFFF),  # GDTR
    0x070: (0x82, 0xFFFF),  # LDTR
    0x080: (0, 0xFFFF),  # IDTR
}
"""Attributes and limit by offset; selector and base are zero."""

_FIXED = {
    0x0D0: 0x1000,  # EFER: SVME
    0x148: 0x40,  # CR4: MCE
    0x158: 0x10,  # CR0: ET
    0x160: 0x400,  # DR7
    0x168: 0xFFFF_0FF0,  # DR6
    0x170: 0x2,  # RFLAGS
    0x3E8: 0x1,  # XCR0: x87
}
"""64-bit registers that every VMM sets alike, by offset."""


def vmsa_page(vmm: Vmm, *, start: int, first: bool, signature: int, guest_features: int) -> bytes:
    """Return the page of one vCPU, 4096 bytes.

    Args:
        vmm: whose reset state it is.
        start: 32-bit address at which the vCPU starts; its upper half becomes CS's base.
        first: whether it is the boot processor.
        signature: CPUID leaf 1, EAX; used where the VMM puts it into RDX.
        guest_features: SEV_FEATURES, 64 bits.
    """
    page = bytearray(PAGE)
    reset = vmm.reset
    for offset, (attributes, limit) in _FIXED_SEGMENTS.items():
        _SEGMENT.pack_into(page, offset, 0, attributes, limit, 0)
    cs_attributes = reset.cs_attributes if first else reset.cs_attributes_ap
    _SEGMENT.pack_into(page, 0x010, 0xF000, cs_attributes, 0xFFFF, start & 0xFFFF_0000)
    _SEGMENT.pack_into(page, 0x020, 0, reset.ss_attributes, 0xFFFF, 0)
    _SEGMENT.pack_into(page, 0x090, 0, reset.tr_attributes, 0xFFFF, 0)
    for offset, value in _FIXED.items():
        _U64.pack_into(page, offset, value)
    _U64.pack_into(page, 0x178, start & 0xFFFF)  # RIP
    _U64.pack_into(page, 0x268, reset.pat)
    _U64.pack_into(page, 0x310, signature if reset.rdx is None else reset.rdx)
    _U64.pack_into(page, 0x3B0, guest_features)
    _U32.pack_into(page, 0x408, reset.mxcsr)
    _U16.pack_into(page, 0x410, reset.fcw)
    return bytes(page)
