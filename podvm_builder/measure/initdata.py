"""What binds a machine to its pod's initdata where the evidence is a TPM's: PCR 8.

Specification: Confidential Containers "Initdata Specification" 0.1.0 for the digest; cloud-api-adaptor and Trustee's
vTPM verifiers for the register: PCR 8 of the SHA-256 bank, extended once with the digest's first 32 bytes.
"""

from __future__ import annotations

import hashlib

from podvm_builder.errors import FormatError
from podvm_builder.model.event import Event

PCR = 8
BANK = "sha256"
ALGORITHMS = ("sha256", "sha384", "sha512")


def initdata_event(toml: bytes, algorithm: str = "sha256") -> Event:
    """Return what PCR 8 is extended with for initdata.

    Args:
        toml: the initdata's text, neither compressed nor in base64; every byte counts.
        algorithm: the one that the initdata names: one of :data:`ALGORITHMS`.

    Raises:
        FormatError: PVB261, another algorithm.
    """
    if algorithm not in ALGORITHMS:
        raise FormatError(f"initdata cannot be digested by `{algorithm}`: {', '.join(ALGORITHMS)} can", code="PVB261")
    digest = hashlib.new(algorithm, toml).digest()[:32]
    return Event(
        pcr=PCR, kind="initdata", digests={BANK: digest}, subject="initdata", source="process-user-data", data=toml
    )
