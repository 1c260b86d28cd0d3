"""MRTD of OVMF images, the launch measurement of a trust domain.

MRTD is one SHA-384 over what the VMM does while it builds the trust domain (TDX Module Base Specification,
TDH.MEM.PAGE.ADD and TDH.MR.EXTEND): 128 bytes for each page that is added, and 128 bytes and the content for
each 256-byte chunk of a page that is extended. Neither vCPUs, memory size nor policy enter it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.ovmf import PAGE, read_table
from podvm_builder.formats.tdvf import TdxSection, read_tdx_sections
from podvm_builder.model.measurement import Basis, Measurement, Status
from podvm_builder.model.region import Region

SINGLE_PASS = "single-pass"  # noqa: S105 - not a password
TWO_PASS = "two-pass"  # noqa: S105
ORDERS: Mapping[str, str] = {
    SINGLE_PASS: "each page is added and extended before the next (KVM since Linux 6.16, QEMU 10.1, Google)",
    TWO_PASS: "all pages of a section are added, then all are extended (TDX kernels before that, e.g. Ubuntu 24.04)",
}
"""Page orders that VMMs are known to use."""

MRTD = "tdx.mrtd"
FIRMWARE_ONLY = "covers the firmware alone: it does not identify the image"

_CHUNK = 256
_CHUNKS = PAGE // _CHUNK
# what TDH.MEM.PAGE.ADD hashes of a page, what TDH.MR.EXTEND hashes of each of its chunks, and the chunks
_ADDED = struct.Struct("<16sQ104x")
_EXTENDED = struct.Struct("<" + f"16sQ104x{_CHUNK}s" * _CHUNKS)
_SPLIT = struct.Struct(f"{_CHUNK}s" * _CHUNKS)
_ADD = b"MEM.PAGE.ADD"
_EXTEND = b"MR.EXTEND"


def read_sections(firmware: bytes) -> tuple[TdxSection, ...]:
    """Return the sections of a firmware that can start a trust domain.

    Raises:
        FormatError: not usable firmware, or none for TDX.
    """
    sections = read_tdx_sections(firmware, read_table(firmware))
    if sections is None:
        raise FormatError(
            "firmware: no TDX metadata, so that no trust domain can start from it",
            code="PVB226",
            hint="give an OVMF build with TDX support, e.g. OVMF.fd of edk2 2023 or newer, or OVMF.inteltdx.fd",
        )
    return sections


def mrtd(firmware: bytes, order: str = SINGLE_PASS) -> bytes:
    """Return MRTD, 48 bytes, for one of :data:`ORDERS`.

    Raises:
        FormatError: not usable firmware, or none for TDX.
        InputError: no such order.
    """
    return _fold(firmware, read_sections(firmware), order)


def _fold(firmware: bytes, sections: tuple[TdxSection, ...], order: str) -> bytes:
    if order not in ORDERS:
        raise InputError(f"unknown page order `{order}`", code="PVB235", hint=f"known are {', '.join(ORDERS)}")
    digest = hashlib.sha384()
    extended: list[bytes | int] = [_EXTEND] * (3 * _CHUNKS)
    for section in sections:
        pages = range(section.gpa, section.gpa + section.size, PAGE)
        data = _section_data(firmware, section) if section.extended else b""
        if order == TWO_PASS:
            digest.update(b"".join(_ADDED.pack(_ADD, gpa) for gpa in pages))
        for gpa in pages:
            if order == SINGLE_PASS:
                digest.update(_ADDED.pack(_ADD, gpa))
            if section.extended:
                # one call lays a page out: at three times the speed of sixteen times three small ones
                extended[1::3] = range(gpa, gpa + PAGE, _CHUNK)
                extended[2::3] = _SPLIT.unpack_from(data, gpa - section.gpa)
                digest.update(_EXTENDED.pack(*extended))
    return digest.digest()


def _section_data(firmware: bytes, section: TdxSection) -> bytes:
    """Return what QEMU puts into a section's memory: bytes of the image, or zeros where it has no data."""
    if not section.data_size:
        return bytes(section.size)
    return firmware[section.data_offset : section.data_offset + section.size]


def measure_mrtd(
    firmware: bytes, *, orders: Iterable[str] = (SINGLE_PASS,)
) -> tuple[tuple[Measurement, ...], Mapping[str, tuple[Region, ...]]]:
    """Return MRTD for each page order, and the regions that it covers.

    Raises:
        FormatError: not usable firmware, or none for TDX.
        InputError: no such order.
    """
    sections = read_sections(firmware)
    name = f"sha256:{hashlib.sha256(firmware).hexdigest()}"
    basis = (Basis(kind="firmware", digest=name),)
    regions_name = f"tdx-{name[7:15]}"
    measurements = tuple(
        Measurement(
            register=MRTD,
            alg="sha384",
            status=Status.PREDICTED,
            value=_fold(firmware, sections, order),
            reason=_reason(sections, order),
            variant={"firmware": name, "page_order": order},
            basis=basis,
            origin=("regions", regions_name),
        )
        for order in dict.fromkeys(orders)
    )
    return measurements, {regions_name: tuple(_region(firmware, section) for section in sections if section.size)}


def _reason(sections: Iterable[TdxSection], order: str) -> str:
    said = [FIRMWARE_ONLY]
    if order == TWO_PASS:
        said.append(f"page order {TWO_PASS}: from the specification, not yet seen on hardware")
    if any(section.data_size not in (0, section.size) for section in sections):
        said.append(
            "a section has less data than memory: computed as QEMU loads it, with the bytes that follow in the image, "
            "where the specification has zeros"
        )
    return "; ".join(said)


def _region(firmware: bytes, section: TdxSection) -> Region:
    return Region(
        source=f"TDX metadata: {section.kind.name}",
        gpa=section.gpa,
        length=section.size,
        page_type="add+extend" if section.extended else "add",
        digest=hashlib.sha384(_section_data(firmware, section)).digest() if section.extended else None,
    )
