"""SEV-SNP launch digests of OVMF images (SEV-SNP Firmware ABI 56860, §8.17 SNP_LAUNCH_UPDATE).

A digest is the fold of pages in launch order: the firmware, the sections of its SEV metadata in table order,
and one VMSA page for each vCPU. Everything that digests share is computed once: equal pages are hashed once,
the digest after the metadata is the same for every vCPU count, CPU and feature set, and the digest of `n`
vCPUs is on the way to that of `n + 1`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.kernel_hashes import TABLE_SIZE, KernelHashes, encode_kernel_hashes
from podvm_builder.formats.ovmf import (
    FOUR_GIB,
    PAGE,
    HashTableArea,
    ap_reset_address,
    check_image,
    hash_table_area,
    read_table,
    unknown_entries,
)
from podvm_builder.formats.sev_metadata import SevSection, SevType, read_sev_sections
from podvm_builder.measure.inputs import Cpu, check_guest_features, check_vcpus
from podvm_builder.measure.vmm import PageType, Vmm, page_type
from podvm_builder.measure.vmsa import RESET_VECTOR, svsm_vmsa_page, vmsa_page
from podvm_builder.model.region import Region

if TYPE_CHECKING:
    from podvm_builder.measure.svsm import Svsm

DIGEST_SIZE = 48
"""Bytes of a launch digest, and of a firmware seed."""

_NOTHING = bytes(DIGEST_SIZE)
# PAGE_INFO after its two digests: LENGTH, PAGE_TYPE, IMI_PAGE, three VMPL permission bytes, a reserved byte, GPA
_INFO = struct.Struct("<HB5xQ")
_INFO_SIZE = 0x70

_NAMES = {
    SevType.MEMORY: "memory",
    SevType.SECRETS: "secrets",
    SevType.CPUID: "CPUID",
    SevType.SVSM_CAA: "SVSM calling area",
    SevType.KERNEL_HASHES: "kernel hashes",
}


def firmware_digest(image: bytes) -> bytes:
    """Return the launch digest after the firmware's own pages: the seed that all digests of it start from.

    Raises:
        FormatError: empty, too large, or not whole pages.
    """
    check_image(image)
    return add_image(_NOTHING, image, FOUR_GIB - len(image))


def add_page(digest: bytes, content: bytes, kind: PageType, gpa: int) -> bytes:
    """Return the launch digest after one page; ``content`` is its SHA-384, or 48 zeros where it is not measured."""
    return hashlib.sha384(digest + content + _INFO.pack(_INFO_SIZE, kind, gpa)).digest()


def add_image(digest: bytes, image: bytes, gpa: int) -> bytes:
    """Return the launch digest after the pages of an image; a run of equal pages is hashed once."""
    sha384 = hashlib.sha384
    info = _INFO.pack(_INFO_SIZE, PageType.NORMAL, 0)[:-8]  # PAGE_INFO up to the address
    last, content = b"", b""
    for offset in range(0, len(image), PAGE):
        page = image[offset : offset + PAGE]
        # equal pages of firmware stand in runs, and comparing is cheaper than looking pages up
        if page != last:
            last = page
            content = sha384(page).digest() + info
        digest = sha384(digest + content + (gpa + offset).to_bytes(8, "little")).digest()
    return digest


class SnpLaunch:
    """One firmware, with or without a kernel that is booted directly, and what its digests share.

    Args:
        firmware: the OVMF image. It is always needed: the metadata that decides what is measured is in it.
        kernel: hashes of the kernel (or UKI), initrd and command line that QEMU is told to load with
            ``kernel-hashes=on``; None where it measures none.
        firmware_seed: :func:`firmware_digest` of the image, 48 bytes, where the caller has it already; then the
            image's pages are not hashed.
        svsm: an SVSM below the firmware (:func:`podvm_builder.measure.svsm.place_svsm`), whose metadata then counts;
            no kernel is measured with it.

    Raises:
        FormatError: the image is not usable firmware, lacks SEV metadata, or cannot take kernel hashes.
        InputError: the seed is not 48 bytes, or a kernel is given with an SVSM.
    """

    def __init__(
        self,
        firmware: bytes,
        *,
        kernel: KernelHashes | None = None,
        firmware_seed: bytes | None = None,
        svsm: Svsm | None = None,
    ):
        """Read the metadata; hash nothing yet."""
        if kernel is not None and svsm is not None:
            raise InputError("with an SVSM no kernel is measured", code="PVB238", hint="measure without `--kernel`")
        table = read_table(firmware)
        sections = read_sev_sections(firmware, table) if svsm is None else svsm.sections
        if sections is None:
            raise FormatError(
                "firmware: no SEV metadata, so that no SNP guest can start from it",
                code="PVB223",
                hint="give an OVMF build with SEV-SNP support, e.g. OVMF.fd or OVMF.amdsev.fd",
            )
        if firmware_seed is not None and len(firmware_seed) != DIGEST_SIZE:
            raise InputError(f"a firmware seed has {DIGEST_SIZE} bytes, not {len(firmware_seed)}", code="PVB231")
        self.unknown_entries = unknown_entries(table)
        """GUIDs of the firmware's table that are not known here, and were ignored."""
        self.firmware = firmware
        self.kernel = kernel
        self.svsm = svsm
        self._seed = firmware_seed
        self.seed_given = firmware_seed is not None
        self._sections = tuple(section for section in sections if section.size)
        self._ap_reset = ap_reset_address(table)
        self._hash_page = None if kernel is None else _hash_page(kernel, hash_table_area(table), self._sections)
        self._measured: dict[tuple[PageType, bool], bytes] = {}

    @property
    def firmware_seed(self) -> bytes:
        """The digest after the firmware's pages: given, or computed at the first use."""
        if self._seed is None:
            self._seed = firmware_digest(self.firmware)
        return self._seed

    def digests(self, vmm: Vmm, *, cpu: Cpu, guest_features: int = 1, vcpus: Iterable[int] = (1,)) -> dict[int, bytes]:
        """Return the launch digest, 48 bytes, for each vCPU count; one walk up to the largest serves all.

        Raises:
            InputError: no vCPU, too many, impossible guest features, or an SVSM under another VMM than QEMU.
            FormatError: several vCPUs, but firmware that does not say where they start.
        """
        check_guest_features(guest_features)
        if self.svsm is not None and vmm.name != "qemu":
            raise InputError(f"{vmm.name} is not known to start an SVSM given as an image of its own", code="PVB238")
        wanted = {check_vcpus(count) for count in vcpus}
        if not wanted:
            return {}
        last = max(wanted)
        pages = self._vmsa_pages(vmm, cpu, guest_features, last)
        sha384 = hashlib.sha384
        steps = [sha384(page).digest() + _INFO.pack(_INFO_SIZE, PageType.VMSA, vmm.vmsa_gpa) for page in pages]
        digest = sha384(self._after_metadata(vmm) + steps[0]).digest()
        found = {1: digest}
        for count in range(2, last + 1):
            digest = sha384(digest + steps[1]).digest()
            found[count] = digest
        return {count: found[count] for count in sorted(wanted)}

    def regions(self, vmm: Vmm, *, cpu: Cpu, guest_features: int = 1, vcpus: int = 1) -> tuple[Region, ...]:
        """Return what is measured, in launch order.

        Further vCPUs measure one page each, all with the same content and address: they are one region, which
        a digest of `n` vCPUs covers `n - 1` times.
        """
        regions = [
            Region(
                source="firmware",
                gpa=FOUR_GIB - len(self.firmware),
                length=len(self.firmware),
                page_type="normal",
                digest=self.firmware_seed,
            )
        ]
        if self.svsm is not None:
            image = self.svsm.image
            regions.append(
                Region(
                    source="SVSM",
                    gpa=self.svsm.gpa,
                    length=len(image),
                    page_type="normal",
                    digest=hashlib.sha384(image).digest(),
                )
            )
        for section, kind in self._launch_order(vmm):
            content = self._section_page(section, kind)
            regions.append(
                Region(
                    source=f"SEV metadata: {_NAMES[section.kind]}",
                    gpa=section.gpa,
                    length=section.size,
                    page_type=kind.name.lower(),
                    digest=None if content is None else hashlib.sha384(content).digest(),
                )
            )
        names = ("VMSA of the first vCPU", "VMSA of each further vCPU")
        for name, page in zip(names, self._vmsa_pages(vmm, cpu, guest_features, vcpus), strict=False):
            regions.append(
                Region(
                    source=name,
                    gpa=vmm.vmsa_gpa,
                    length=PAGE,
                    page_type="vmsa",
                    digest=hashlib.sha384(page).digest(),
                )
            )
        return tuple(regions)

    def _launch_order(self, vmm: Vmm) -> list[tuple[SevSection, PageType]]:
        hashes = self._hash_page is not None
        ordered = [(section, page_type(vmm, section.kind, hashes=hashes)) for section in self._sections]
        if vmm.cpuid_last:
            ordered.sort(key=lambda item: item[0].kind is SevType.CPUID)  # stable: the others keep their order
        return ordered

    def _section_page(self, section: SevSection, kind: PageType) -> bytes | None:
        """Return the bytes of a section that is measured with its content."""
        if kind is not PageType.NORMAL or self._hash_page is None:
            return None
        return self._hash_page + bytes(section.size - PAGE)

    def _after_metadata(self, vmm: Vmm) -> bytes:
        key = (vmm.memory_pages, vmm.cpuid_last)  # all that this depends on
        digest = self._measured.get(key)
        if digest is not None:
            return digest
        sha384 = hashlib.sha384
        digest = self.firmware_seed
        if self.svsm is not None:
            digest = add_image(digest, self.svsm.image, self.svsm.gpa)
        for section, kind in self._launch_order(vmm):
            data = self._section_page(section, kind)
            for offset in range(0, section.size, PAGE):
                content = _NOTHING if data is None else sha384(data[offset : offset + PAGE]).digest()
                digest = add_page(digest, content, kind, section.gpa + offset)
        self._measured[key] = digest
        return digest

    def _vmsa_pages(self, vmm: Vmm, cpu: Cpu, guest_features: int, vcpus: int) -> list[bytes]:
        """Return the page of the first vCPU and, where there are more, that of each further one."""
        if self.svsm is not None:
            page = svsm_vmsa_page(vmm, start=self.svsm.start, signature=cpu.signature, guest_features=guest_features)
            return [page] * min(vcpus, 2)
        starts = [RESET_VECTOR]
        if vcpus > 1:
            if self._ap_reset is None:
                raise FormatError(
                    "firmware: no SEV-ES reset block, so that only one vCPU can start",
                    code="PVB233",
                    hint="give an OVMF build with SEV-ES support, or one vCPU",
                )
            starts.append(self._ap_reset)
        return [
            vmsa_page(vmm, start=start, first=not index, signature=cpu.signature, guest_features=guest_features)
            for index, start in enumerate(starts)
        ]


def _hash_page(kernel: KernelHashes, area: HashTableArea | None, sections: Sequence[SevSection]) -> bytes:
    """Return the page that holds the hash table where the firmware looks for it."""
    section = next((section for section in sections if section.kind is SevType.KERNEL_HASHES), None)
    if area is None or section is None:
        raise FormatError(
            "firmware: it takes no kernel hashes, so that its digest cannot cover a kernel",
            code="PVB224",
            hint="give an OVMF.amdsev.fd, or measure without `--kernel`",
        )
    offset = area.gpa % PAGE
    if area.size < TABLE_SIZE or area.gpa - offset != section.gpa or offset + TABLE_SIZE > PAGE:
        raise FormatError(
            f"firmware: the kernel hash table at {area.gpa:#x} of {area.size:#x} bytes does not fit the section "
            f"at {section.gpa:#x}",
            code="PVB224",
        )
    return bytes(offset) + encode_kernel_hashes(kernel) + bytes(PAGE - offset - TABLE_SIZE)
