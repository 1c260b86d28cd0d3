"""One region of guest memory that a launch digest covers."""

from __future__ import annotations

from typing import NamedTuple


class Region(NamedTuple):
    """A run of pages added at launch, in launch order.

    A launch digest is the fold over the regions' pages; pages are listed only when asked for.
    """

    source: str
    """Where the bytes come from: ``firmware``, ``metadata: CPUID``, ``kernel hashes``, ``VMSA 0`` …"""
    gpa: int
    """Guest physical address of the first byte; a multiple of 4096."""
    length: int
    """Length in bytes; a multiple of 4096, but for the kernel hash table of SEV and SEV-ES."""
    page_type: str
    """The TEE's own term: SNP ``normal``, ``zero``, ``secrets``, ``cpuid``, ``vmsa``, ``unmeasured``;
    SEV and SEV-ES, which have none, ``data`` and ``vmsa``;
    TDX ``add``, ``add+extend``, ``aug``."""
    digest: bytes | None
    """SHA-384 of the region's bytes where they are measured, else None. For the firmware of an SNP guest, whose
    pages are measured one by one, the launch digest after the last of them: the firmware seed."""
