"""What binds a machine to its pod's initdata: PCR 8 where the evidence is a TPM's, a field of the report elsewhere.

Specification: Confidential Containers "Initdata Specification" 0.1.0 for the digest; cloud-api-adaptor and Trustee's
verifiers for the places: PCR 8 of the SHA-256 bank, extended once with the digest's first 32 bytes; SNP's HOST_DATA of
32 bytes, TDX's MRCONFIGID of 48 and CCA's personalization value of 64, each with the digest cut or filled up with
zeros.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from podvm_builder.errors import FormatError
from podvm_builder.formats.initdata import ALGORITHMS
from podvm_builder.model.event import Event

PCR = 8
BANK = "sha256"

_FIELDS = (("snp.host_data", 32), ("tdx.mrconfigid", 48), ("cca.personalization", 64))


def initdata_event(toml: bytes, algorithm: str = "sha256") -> Event:
    """Return what PCR 8 is extended with for initdata.

    Args:
        toml: the initdata's text, neither compressed nor in base64; every byte counts.
        algorithm: the one that the initdata names: sha256, sha384 or sha512.

    Raises:
        FormatError: PVB261, another algorithm.
    """
    if algorithm not in ALGORITHMS:
        raise FormatError(f"initdata cannot be digested by `{algorithm}`: {', '.join(ALGORITHMS)} can", code="PVB261")
    digest = hashlib.new(algorithm, toml).digest()[:32]
    return Event(
        pcr=PCR, kind="initdata", digests={BANK: digest}, subject="initdata", source="process-user-data", data=toml
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One place that ties a machine to its initdata."""

    register: str
    value: bytes
    note: str
    """What a reader must know of it; empty where there is nothing."""


def bindings(digest: bytes) -> tuple[Binding, ...]:
    """Return what each place holds for an initdata's digest of 32, 48 or 64 bytes."""
    extended = hashlib.sha256(bytes(32) + digest[:32]).digest()
    rows = [
        Binding(
            register=f"tpm.pcr{PCR:02}",
            value=extended,
            note="" if len(digest) == 32 else "the first 32 bytes count, and Trustee takes sha256 only here",
        )
    ]
    for register, size in _FIELDS:
        note = f"the first {size} of {len(digest)} bytes" if len(digest) > size else ""
        if register == "cca.personalization" and len(digest) < size:
            note = "Trustee compares 64 bytes with the digest: take sha512"
        rows.append(Binding(register=register, value=digest[:size].ljust(size, b"\0"), note=note))
    return tuple(rows)
