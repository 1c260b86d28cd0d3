"""How VMMs differ in what they measure at an SNP launch: a table, one row for each VMM and revision.

Where a fact changed over time, or differs between hosts, it is a *revision* with a name; the first row of a
VMM is its default, and a revision is shown in the ``variant`` of every value computed with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from podvm_builder.errors import InputError
from podvm_builder.formats.sev_metadata import SevType


class PageType(IntEnum):
    """PAGE_TYPE of SNP_LAUNCH_UPDATE (SEV-SNP Firmware ABI 56860, §8.17)."""

    NORMAL = 1
    VMSA = 2
    ZERO = 3
    UNMEASURED = 4
    SECRETS = 5
    CPUID = 6


class ResetState(NamedTuple):
    """Registers of a vCPU at launch that are not the same under every VMM (AMD APM volume 2, appendix B)."""

    cs_attributes: int
    """Of the first vCPU."""
    cs_attributes_ap: int
    """Of every further vCPU."""
    ss_attributes: int
    tr_attributes: int
    pat: int
    rdx: int | None
    """None: the CPU's signature."""
    mxcsr: int
    fcw: int


class Vmm(NamedTuple):
    """One VMM as of one revision."""

    name: str
    revision: str
    reset: ResetState
    memory_pages: PageType
    """How plain memory of the SEV metadata is added."""
    cpuid_last: bool
    """The CPUID page is added after all other sections rather than in its place."""
    vmsa_gpa: int
    """Guest address under which every VMSA page is measured."""
    loads_kernel: bool
    """Whether the VMM can start a kernel itself and hand its hashes to the firmware."""
    caution: str | None
    """What a reader of values for this row must know, None where it is proved in use."""

    def __str__(self) -> str:
        """Return ``name@revision``."""
        return f"{self.name}@{self.revision}"


_PAT = 0x0007_0406_0007_0406
_GCE_PAT = 0x0007_0106
_VMSA_48 = 0x0000_FFFF_FFFF_F000
"""KVM's INITIAL_VMSA_GPA."""
_VMSA_52 = 0x000F_FFFF_FFFF_F000

_QEMU = ResetState(
    cs_attributes=0x9B,
    cs_attributes_ap=0x9B,
    ss_attributes=0x93,
    tr_attributes=0x8B,
    pat=_PAT,
    rdx=None,
    mxcsr=0x1F80,
    fcw=0x37F,
)
_EC2 = ResetState(
    cs_attributes=0x9A,
    cs_attributes_ap=0x9B,
    ss_attributes=0x92,
    tr_attributes=0x83,
    pat=_PAT,
    rdx=0x600,
    mxcsr=0,
    fcw=0,
)
_NO_HARDWARE = "from the specification, not yet seen on hardware"

_QEMU_ROW = Vmm(
    name="qemu",
    revision="sev-init2",  # KVM_SEV_INIT2, Linux 6.10 and newer: KVM copies the FPU's reset state into the VMSA
    reset=_QEMU,
    memory_pages=PageType.ZERO,
    cpuid_last=False,
    vmsa_gpa=_VMSA_48,
    loads_kernel=True,
    caution=None,
)
_EC2_ROW = Vmm(
    name="ec2",
    revision="rdx-0x600",
    reset=_EC2,
    memory_pages=PageType.ZERO,
    cpuid_last=True,
    vmsa_gpa=_VMSA_48,
    loads_kernel=False,
    caution=None,
)
_GCE_ROW = Vmm(
    name="gce",
    revision="milan",
    reset=_QEMU._replace(pat=_GCE_PAT, rdx=0x600, mxcsr=0, fcw=0),
    memory_pages=PageType.UNMEASURED,
    cpuid_last=False,
    vmsa_gpa=_VMSA_48,
    loads_kernel=False,
    caution=None,
)
_KRUN_ROW = Vmm(
    name="krun",
    revision="virtee-sev",
    reset=_EC2._replace(cs_attributes_ap=0x9A, rdx=0),
    memory_pages=PageType.ZERO,
    cpuid_last=False,
    vmsa_gpa=_VMSA_48,
    loads_kernel=True,
    caution="as the Rust crate `sev` describes it; not yet seen on hardware",
)

VMMS: tuple[Vmm, ...] = (
    _QEMU_ROW,
    _QEMU_ROW._replace(revision="before-sev-init2", reset=_QEMU._replace(mxcsr=0, fcw=0), caution=_NO_HARDWARE),
    _EC2_ROW,
    _EC2_ROW._replace(revision="rdx-0", reset=_EC2._replace(rdx=0)),  # until about 2026
    _GCE_ROW,
    # guest physical addresses have 52 bits there, and the VMSA takes the last page of them
    _GCE_ROW._replace(revision="genoa", vmsa_gpa=_VMSA_52, caution=_NO_HARDWARE),
    _KRUN_ROW,
)
"""Every VMM and revision; the first row of a name is its default."""


def page_type(vmm: Vmm, kind: SevType, *, hashes: bool) -> PageType:
    """Return how a VMM adds a section of the SEV metadata; ``hashes``: it was asked to place kernel hashes."""
    if kind is SevType.KERNEL_HASHES and hashes:
        return PageType.NORMAL
    return vmm.memory_pages if kind is SevType.MEMORY else _PAGE_TYPES[kind]


_PAGE_TYPES: Mapping[SevType, PageType] = {
    SevType.SECRETS: PageType.SECRETS,
    SevType.CPUID: PageType.CPUID,
    SevType.SVSM_CAA: PageType.ZERO,
    SevType.KERNEL_HASHES: PageType.ZERO,
}


def find_vmm(text: str) -> Vmm:
    """Return the row for ``name`` (its default revision) or ``name@revision``.

    Raises:
        InputError: no such VMM or revision; the message lists those there are.
    """
    name, _, revision = text.partition("@")
    rows = [vmm for vmm in VMMS if vmm.name == name]
    if not rows:
        raise InputError(
            f"unknown VMM `{name}`", code="PVB229", hint=f"known are {', '.join(dict.fromkeys(v.name for v in VMMS))}"
        )
    for vmm in rows:
        if text in (vmm.name, str(vmm)):
            return vmm
    raise InputError(
        f"{name} has no revision `{revision}`",
        code="PVB229",
        hint=f"known are {', '.join(vmm.revision for vmm in rows)}",
    )
