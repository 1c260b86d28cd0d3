"""One measured event of a boot. A boot is one ordered log of these; registers are folds of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that a TPM PCR, a TDX RTMR or a CCA REM is extended with.

    Follows the TCG PC Client Platform Firmware Profile (event types and digests) and UEFI 2.10 §38.4.1
    for the mapping of PCRs to confidential-computing measurement registers.
    """

    pcr: int
    """TPM PCR index, 0-23; other registers are mapped from it."""
    kind: str
    """TCG event type name, e.g. ``EV_EFI_BOOT_SERVICES_APPLICATION``."""
    digests: Mapping[str, bytes]
    """Digest per algorithm: ``sha1`` 20, ``sha256`` 32, ``sha384`` 48, ``sha512`` 64 bytes."""
    subject: str
    """What was measured, in words: ``UKI``, ``section .initrd``, ``GPT``."""
    source: str
    """Who measures it and from what: ``firmware``, ``systemd-stub``, ``linux-efi-stub`` …"""
    data: bytes = field(default=b"", repr=False)
    """Event data as a log would hold it, where it is known; for descriptions only."""
