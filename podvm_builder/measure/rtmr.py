"""The log of a boot mapped to the run-time registers of a trust domain.

Specification: UEFI 2.10 §38.4.1. PCR 1 and 7 go to RTMR 0, 2 to 6 to RTMR 1, 8 to 15 to RTMR 2; RTMR 3 is the guest's.
The events are those of the TPM's PCRs with their SHA-384 digests, but for one difference of edk2's ``TdTcg2Dxe``: where
a TPM gets a separator in each of PCR 0 to 6 before the first boot option is called, a trust domain gets a single one,
and in which register it lands depends on the firmware's layout.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from podvm_builder.catalog.ovmf import Layout
from podvm_builder.model.event import Event

ALGORITHM = "sha384"
SIZE = 48
"""Bytes of a register."""

SEPARATOR = "EV_SEPARATOR"
_SECURE_BOOT_PCR = 7


def register_of(pcr: int) -> int | None:
    """Return the RTMR that a PCR's events go to, None for PCR 0 (whose place is MRTD) and those above 15."""
    if pcr in (1, _SECURE_BOOT_PCR):
        return 0
    if 2 <= pcr <= 6:
        return 1
    return 2 if 8 <= pcr <= 15 else None


def runtime_log(log: Sequence[Event], layout: Layout | None) -> tuple[Event, ...]:
    """Return a boot's events as a trust domain measures them.

    Args:
        log: of the PCRs, with SHA-384 digests.
        layout: the firmware's; None where it is not known, then the separator at ReadyToBoot is left out.
    """
    return tuple(_single_separator(log, layout))


def fold(events: Iterable[Event], register: int) -> bytes:
    """Return an RTMR after the events that extend it: ``new = SHA384(old || digest)``, from 48 zeros."""
    value = bytes(SIZE)
    for event in events:
        if register_of(event.pcr) == register:
            value = hashlib.sha384(value + event.digests[ALGORITHM]).digest()
    return value


def _single_separator(log: Sequence[Event], layout: Layout | None) -> Iterator[Event]:
    seen = False
    for event in log:
        if event.kind != SEPARATOR or event.pcr == _SECURE_BOOT_PCR:
            yield event
        elif not seen:
            seen = True
            if layout is not None:
                # an RTMR is named by a PCR that goes to it, so that every log is read in one way
                yield Event(
                    pcr=1 if layout.separator == 0 else 4,
                    kind=event.kind,
                    digests=event.digests,
                    subject=event.subject,
                    source=event.source,
                    data=event.data,
                )
