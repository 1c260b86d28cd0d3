"""SNP launch digests of IGVM files, as QEMU and KVM load them (``igvm_defs`` 0.5; QEMU's ``backends/igvm.c``).

Pages are added in the file's order, those for another platform left out, and shared ones too: these are not private
memory, and enter no digest. A page without data is a normal page of zeros, as the format says; ``native_zero`` is
for loaders that use SNP's own zero pages instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from podvm_builder.errors import Finding, FormatError
from podvm_builder.formats.igvm import read_igvm
from podvm_builder.formats.igvm_headers import CODE
from podvm_builder.formats.igvm_values import (
    SNP,
    Directive,
    IgvmFile,
    PageData,
    ParameterInsert,
    SnpIdBlock,
    VpContext,
)
from podvm_builder.formats.ovmf import PAGE
from podvm_builder.measure.snp_launch import DIGEST_SIZE, add_page
from podvm_builder.measure.vmm import PageType
from podvm_builder.model.measurement import Basis, Identification, Measurement, Status
from podvm_builder.model.region import Region

REGISTER = "snp.launch_digest"
CHECK = "PVB237"
KVM_VMSA_GPA = 0xFFFF_FFFF_F000
"""Where KVM places the VMSA, whatever the file says."""
IDENTIFICATION = Identification(
    value=False,
    by=(),
    reason="the launch digest covers what the IGVM file holds: whether that is the image is not known",
)
_UNSEEN = "as the Rust crate `igvm` 0.5 computes it; not yet seen on hardware"
_CR0 = (0x31, 0x30)
_CR0_OFFSET = 0x158
_NO_CONTENT = bytes(DIGEST_SIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    source: str
    gpa: int
    kind: PageType
    data: bytes | None


def igvm_launch_digest(data: bytes, *, native_zero: bool = False) -> bytes:
    """Return the SNP launch digest of an IGVM file, 48 bytes.

    Args:
        data: the file.
        native_zero: pages without data are added as zero pages rather than as normal ones.

    Raises:
        FormatError: not a well-formed file, not one for SNP, or one that adds a page twice (PVB236).
    """
    return _fold(_pages(read_igvm(data), native_zero=native_zero))


def measure_igvm(
    data: bytes, *, native_zero: bool = False, check_kvm: bool = False
) -> tuple[tuple[Measurement, ...], Mapping[str, tuple[Region, ...]]]:
    """Return the launch digest of an IGVM file as a measurement, and its regions.

    Args:
        data: the file.
        native_zero: see :func:`igvm_launch_digest`.
        check_kvm: also check what KVM does not take from the file: see :func:`kvm_findings`.

    Raises:
        FormatError: as :func:`igvm_launch_digest`.
        Finding: PVB237, KVM would measure something else, or the file's ID block is for another digest.
    """
    igvm = read_igvm(data)
    pages = _pages(igvm, native_zero=native_zero)
    digest = _fold(pages)
    findings = list(kvm_findings(igvm)) if check_kvm else []
    for block in _for_snp(igvm):
        if isinstance(block, SnpIdBlock) and block.launch_digest != digest:
            findings.append(
                f"its ID block is for launch digest {block.launch_digest.hex()}, but the file gives {digest.hex()}"
            )
    if findings:
        raise Finding(f"IGVM file: {'; '.join(findings)}", code=CHECK)
    name = f"sha256:{hashlib.sha256(data).hexdigest()}"
    regions_name = f"igvm-{name[7:15]}{'-native-zero' if native_zero else ''}"
    measurement = Measurement(
        register=REGISTER,
        alg="sha384",
        status=Status.PREDICTED,
        value=digest,
        reason=_UNSEEN,
        variant={
            "igvm": name,
            "zero_pages": "native" if native_zero else "normal",
            "compatibility_mask": f"{_snp_mask(igvm):#x}",
        },
        basis=(Basis(kind="firmware", digest=name),),
        origin=("regions", regions_name),
    )
    return (measurement,), {regions_name: tuple(_regions(pages))}


def kvm_findings(igvm: IgvmFile) -> Iterator[str]:
    """Yield why KVM would measure something else than the file says; nothing where it would not.

    KVM takes the state of the first vCPU alone, measures it last, at :data:`KVM_VMSA_GPA`, and with a CR0 of its own
    making.
    """
    directives = [directive for directive in _for_snp(igvm) if not isinstance(directive, SnpIdBlock)]
    contexts = [directive for directive in directives if isinstance(directive, VpContext)]
    if len(contexts) != 1:
        yield f"{len(contexts)} VMSA pages: KVM takes exactly one"
    elif directives[-1] is not contexts[0]:
        yield "the VMSA is not the last page, as which KVM measures it"
    for context in contexts:
        if context.gpa != KVM_VMSA_GPA:
            yield f"the VMSA lies at {context.gpa:#x}, and KVM places it at {KVM_VMSA_GPA:#x}"
        cr0 = int.from_bytes(context.data[_CR0_OFFSET : _CR0_OFFSET + 8], "little")
        if cr0 not in _CR0:
            yield f"CR0 in the VMSA is {cr0:#x}, and KVM makes it 0x31 or 0x30"


def _snp_mask(igvm: IgvmFile) -> int:
    mask = igvm.mask_of(SNP)
    if mask is None:
        raise FormatError("IGVM file: it does not support SNP", code=CODE)
    return mask


def _for_snp(igvm: IgvmFile) -> Iterator[Directive]:
    mask = _snp_mask(igvm)
    return (directive for directive in igvm.directives if directive.mask & mask)


def _pages(igvm: IgvmFile, *, native_zero: bool) -> list[_Page]:
    """Return the pages that are added to an SNP guest, in order."""
    pages: list[_Page] = []
    seen: set[int] = set()
    for directive in _for_snp(igvm):
        for page in _directive_pages(directive, native_zero=native_zero):
            # every vCPU's VMSA is measured at one address: only memory can be given twice
            if page.gpa in seen and page.kind is not PageType.VMSA:
                raise FormatError(f"IGVM file: the page at {page.gpa:#x} is added twice", directive.offset, code=CODE)
            seen.add(page.gpa)
            pages.append(page)
    if not pages:
        raise FormatError("IGVM file: nothing in it is for SNP", code=CODE)
    return pages


def _directive_pages(directive: Directive, *, native_zero: bool) -> Iterator[_Page]:
    match directive:
        case PageData():
            if directive.shared:
                return
            kind = _page_type(directive, native_zero=native_zero)
            content = None
            if kind is PageType.NORMAL:
                content = directive.data if directive.data is not None else bytes(directive.size)
            for start in range(0, directive.size, PAGE):
                data = None if content is None else content[start : start + PAGE]
                yield _Page(source="page data", gpa=directive.gpa + start, kind=kind, data=data)
        case ParameterInsert():
            for start in range(0, directive.size, PAGE):
                gpa = directive.gpa + start
                yield _Page(source="parameters", gpa=gpa, kind=PageType.UNMEASURED, data=None)
        case VpContext():
            source = f"VMSA of vCPU {directive.index}"
            yield _Page(source=source, gpa=directive.gpa, kind=PageType.VMSA, data=directive.data)
        case SnpIdBlock():
            return


def _page_type(page: PageData, *, native_zero: bool) -> PageType:
    if page.kind == 1:
        return PageType.SECRETS
    if page.kind in (2, 3):
        return PageType.CPUID
    if page.unmeasured:
        return PageType.UNMEASURED
    return PageType.ZERO if native_zero and page.data is None else PageType.NORMAL


def _fold(pages: list[_Page]) -> bytes:
    digest = bytes(DIGEST_SIZE)
    known: dict[bytes, bytes] = {}
    for page in pages:
        content = _NO_CONTENT
        if page.data is not None:
            found = known.get(page.data)
            content = known[page.data] = found or hashlib.sha384(page.data).digest()
        digest = add_page(digest, content, page.kind, page.gpa)
    return digest


def _regions(pages: list[_Page]) -> Iterator[Region]:
    """Yield runs of pages of one kind that follow on each other in memory."""
    start = 0
    for end in range(1, len(pages) + 1):
        if end < len(pages):
            last, page = pages[end - 1], pages[end]
            if (page.source, page.kind, page.gpa) == (last.source, last.kind, last.gpa + PAGE):
                continue
        run = pages[start:end]
        content = hashlib.sha384(b"".join(page.data or b"" for page in run))
        yield Region(
            source=run[0].source,
            gpa=run[0].gpa,
            length=len(run) * PAGE,
            page_type=run[0].kind.name.lower(),
            digest=None if run[0].data is None else content.digest(),
        )
        start = end
