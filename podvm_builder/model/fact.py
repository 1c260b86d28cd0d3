"""Facts about the machines that an image runs on: what a verifier compares and no image decides.

A fact is a list of accepted values under a name of :data:`FACTS`. Profiles say them in ``trust:``, a build carries them
through the plan and the manifest into ``measurements.json``, and the command line may add to them. A fact that is
not said is not known: nothing is guessed for it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

FactValue = int | str
Facts = Mapping[str, tuple[FactValue, ...]]
"""Accepted values by fact; a name that is not there is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What one fact says."""

    kind: str
    """``number``; ``hex``, lower case, of :attr:`size` bytes; ``base64``, standard and padded; or ``word``."""
    title: str
    """What it is, where its values are found."""
    size: int = 0
    """Bytes of a ``hex`` fact; the largest value of a ``number``."""
    words: tuple[str, ...] = ()
    """What a ``word`` may be."""
    profile: bool = True
    """Whether a profile may say it; others are for trying things out on the command line."""

    def read(self, value: FactValue) -> FactValue:
        """Return one value as it is kept: numbers as numbers, hex in lower case.

        Raises:
            ValueError: it is not of the kind; the message says what one would be.
        """
        match self.kind:
            case "number":
                return self._number(value)
            case "hex":
                if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{2 * self.size}}}", value):
                    raise ValueError(f"the hex of {self.size} bytes")
                return value.lower()
            case "base64":
                return _base64(value)
            case _:
                if self.words and value not in self.words:
                    raise ValueError(f"one of {', '.join(self.words)}")
                if not isinstance(value, str) or not value.isprintable() or not value:
                    raise ValueError("a word")
                return value

    def _number(self, value: FactValue) -> int:
        if isinstance(value, str):
            if not re.fullmatch(r"0x[0-9a-fA-F]{1,16}|[0-9]{1,20}", value):
                raise ValueError("a whole number")
            value = int(value, 16 if value.startswith("0x") else 10)
        if not 0 <= value <= self.size:
            raise ValueError(f"a number from 0 to {self.size}")
        return value


def _base64(value: FactValue) -> str:
    try:
        if isinstance(value, str) and base64.b64decode(value, validate=True):
            return value
    except (binascii.Error, ValueError):
        pass
    raise ValueError("padded base64")


_BYTE = 0xFF
_STATE = ("enabled", "disabled")
# Intel TDX DCAP quote verification library, TCB status of a platform
_TCB_STATUS = (
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
)

FACTS: dict[str, Fact] = {
    "snp_bootloader": Fact(kind="number", size=_BYTE, title="SNP reported TCB: bootloader security version"),
    "snp_tee": Fact(kind="number", size=_BYTE, title="SNP reported TCB: TEE security version"),
    "snp_firmware": Fact(kind="number", size=_BYTE, title="SNP reported TCB: SNP firmware security version"),
    "snp_microcode": Fact(kind="number", size=_BYTE, title="SNP reported TCB: microcode security version"),
    "snp_smt": Fact(kind="word", words=_STATE, title="SNP platform information: simultaneous multithreading"),
    "snp_tsme": Fact(kind="word", words=_STATE, title="SNP platform information: transparent memory encryption"),
    "snp_guest_policy": Fact(
        kind="number", size=(1 << 32) - 1, title="SNP guest policy of the report, as the VMM launches with"
    ),
    "snp_launch_digest": Fact(
        kind="hex", size=48, title="SNP launch digest of firmware that the cloud provides, e.g. Azure's paravisor"
    ),
    "tdx_mrtd": Fact(kind="hex", size=48, title="MRTD of firmware that the cloud provides"),
    "tdx_mrseam": Fact(kind="hex", size=48, title="TDX module digest (MRSEAM); Trustee up to 0.18 compares it"),
    "tdx_tcb_svn": Fact(kind="hex", size=16, title="TEE_TCB_SVN of the quote; Trustee up to 0.18 compares it"),
    "tdx_xfam": Fact(kind="hex", size=8, title="XFAM of the quote, its 8 bytes as they stand there"),
    "tdx_tcb_status": Fact(
        kind="word", words=_TCB_STATUS, title="TCB status of the platform that the quote's verification gives"
    ),
    "tpm_ak": Fact(kind="base64", title="public attestation key of a TPM, DER SubjectPublicKeyInfo"),
    "tpm_pcr03": Fact(kind="hex", size=32, title="PCR 3 of the SHA-256 bank, the cloud firmware's"),
    "tpm_pcr08": Fact(kind="hex", size=32, title="PCR 8 of the SHA-256 bank, as a pod's initdata gives it"),
    "cca_implementation": Fact(kind="base64", title="CCA platform implementation identifier"),
    "sample_launch_digest": Fact(kind="word", title="launch digest of the sample attester", profile=False),
    "sample_svn": Fact(kind="number", size=(1 << 31) - 1, title="SVN of the sample attester", profile=False),
    "sample_major": Fact(kind="number", size=(1 << 31) - 1, title="sample platform's major version", profile=False),
    "sample_minor": Fact(
        kind="number", size=(1 << 31) - 1, title="sample platform's lowest minor version", profile=False
    ),
}
"""Every fact, by name. ``tests/unit/refvalues`` holds this table and the profile's ``trust`` together."""
