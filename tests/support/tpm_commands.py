"""TPM 2.0 commands that firmware sends, for tests that stand in for it (TCG TPM 2.0 Library, Part 3; big-endian)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from podvm_builder.boot.tpm import ALGORITHMS, HEADER

_NO_SESSIONS, _SESSIONS = 0x8001, 0x8002
_STARTUP, _PCR_EXTEND = 0x144, 0x182


def startup_command() -> bytes:
    """Return TPM2_Startup(TPM_SU_CLEAR), which firmware sends first."""
    return struct.pack(">HIIH", _NO_SESSIONS, HEADER + 2, _STARTUP, 0)


def extend_command(pcr: int, digests: Mapping[str, bytes]) -> bytes:
    """Return TPM2_PCR_Extend with an empty password authorisation (22.2)."""
    ids = {name: number for number, name in ALGORITHMS.items()}
    # TPM_RS_PW, no nonce, no attributes, no password
    auth = struct.pack(">IHBH", 0x40000009, 0, 0, 0)
    values = b"".join(struct.pack(">H", ids[name]) + digest for name, digest in digests.items())
    body = struct.pack(">II", pcr, len(auth)) + auth + struct.pack(">I", len(digests)) + values
    return struct.pack(">HII", _SESSIONS, HEADER + len(body), _PCR_EXTEND) + body
