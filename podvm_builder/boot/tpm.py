"""TPM 2.0 commands on the wire: reading PCRs, and what a passing command does to them.

Formats: TCG TPM 2.0 Library, Part 2 (structures) and Part 3 (commands). All integers are big-endian, but the
octets of a PCR selection, in which PCR 0 is bit 0 of the first octet. Pure functions over bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from podvm_builder.errors import FormatError

ALGORITHMS: Mapping[int, str] = {
    0x0004: "sha1",
    0x000B: "sha256",
    0x000C: "sha384",
    0x000D: "sha512",
    0x0012: "sm3_256",
}
"""Hash algorithm identifiers (Part 2, table "TPM_ALG_ID") to the names that the project uses."""

SIZES: Mapping[str, int] = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64, "sm3_256": 32}
"""Digest length in bytes."""

PCR_COUNT = 24
HEADER = 10
"""Bytes of every command and response before its handles: tag (2), size (4), command or response code (4)."""

MAX_MESSAGE = 1 << 16
"""Bytes; TPMs of today take and give at most 4096."""

_NO_SESSIONS = 0x8001
_SESSIONS = 0x8002
_RC_INITIALIZE = 0x100

_PCR_READ = 0x0000017E

CODE = "PVB514"

# PCRs that a reset sets to all ones (PC Client Platform TPM Profile, table "PCR Attributes")
_STARTS_AS_ONES = frozenset(range(17, 23))

Pcrs = Mapping[str, Mapping[int, bytes]]
"""Value per bank and PCR index."""


class TpmCommand(StrEnum):
    """The commands that change a PCR."""

    EXTEND = "TPM2_PCR_Extend"
    EVENT = "TPM2_PCR_Event"
    SEQUENCE_COMPLETE = "TPM2_EventSequenceComplete"
    RESET = "TPM2_PCR_Reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class PcrChange:
    """What one successful command did to one PCR."""

    command: TpmCommand
    pcr: int
    digests: Mapping[str, bytes]
    """Per bank, what the PCR was extended with; empty for a reset."""


_CHANGES = {
    0x0000013C: TpmCommand.EVENT,
    0x0000013D: TpmCommand.RESET,
    0x00000182: TpmCommand.EXTEND,
    0x00000185: TpmCommand.SEQUENCE_COMPLETE,
}


class _Reader:
    """A cursor over one message; every read is checked against its end."""

    def __init__(self, data: bytes, offset: int) -> None:
        self.data = data
        self.offset = offset

    def take(self, length: int) -> bytes:
        end = self.offset + length
        if end > len(self.data):
            raise FormatError("a TPM message ends early", len(self.data), code=CODE)
        piece = self.data[self.offset : end]
        self.offset = end
        return piece

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2))

    def u32(self) -> int:
        return int.from_bytes(self.take(4))


def message_size(header: bytes) -> int:
    """Return the length in bytes of the message that starts with these :data:`HEADER` bytes, header included.

    Raises:
        FormatError: the length is less than a header or more than :data:`MAX_MESSAGE`.
    """
    size = int.from_bytes(header[2:6])
    if not HEADER <= size <= MAX_MESSAGE:
        raise FormatError(f"a TPM message says that it has {size} bytes", 2, code=CODE)
    return size


def response_code(response: bytes) -> int:
    """Return a response's code; 0 is success."""
    return _Reader(response, 6).u32()


def pcr_read_command(alg: int, pcrs: Iterable[int]) -> bytes:
    """Return TPM2_PCR_Read for some PCRs of one bank (Part 3, 22.4)."""
    selection = sum(1 << pcr for pcr in pcrs).to_bytes(3, "little")
    body = struct.pack(">IHB", 1, alg, len(selection)) + selection
    return struct.pack(">HII", _NO_SESSIONS, HEADER + len(body), _PCR_READ) + body


def parse_pcr_read(response: bytes) -> dict[int, bytes]:
    """Return the PCRs that a TPM2_PCR_Read of one bank gave; none if the bank is not allocated.

    Raises:
        FormatError: truncated, more than one bank, or a digest for no selected PCR.
    """
    reader = _Reader(response, HEADER)
    reader.u32()  # pcrUpdateCounter
    banks = reader.u32()
    selected: list[int] = []
    for _ in range(min(banks, 16)):
        reader.u16()
        bits = int.from_bytes(reader.take(reader.u8()), "little")
        selected += [pcr for pcr in range(PCR_COUNT) if bits >> pcr & 1]
    count = reader.u32()
    if count != len(selected):
        raise FormatError(f"TPM2_PCR_Read selects {len(selected)} PCRs and gives {count}", reader.offset, code=CODE)
    return {pcr: reader.take(reader.u16()) for pcr in selected}


def read_pcrs(exchange: Callable[[bytes], bytes], banks: Sequence[str]) -> dict[str, dict[int, bytes]] | None:
    """Read all PCRs of the named banks; None before the firmware's TPM2_Startup.

    A TPM returns at most eight digests a call and says which: what is missing is asked for again.
    A bank that is not allocated is left out.

    Args:
        exchange: sends one command and returns its response.
        banks: names as in :data:`ALGORITHMS`.

    Raises:
        FormatError: the TPM refuses, or answers something else.
    """
    values: dict[str, dict[int, bytes]] = {}
    for alg, name in ALGORITHMS.items():
        if name not in banks:
            continue
        bank: dict[int, bytes] = {}
        while len(bank) < PCR_COUNT:
            response = exchange(pcr_read_command(alg, [pcr for pcr in range(PCR_COUNT) if pcr not in bank]))
            code = response_code(response)
            if code == _RC_INITIALIZE:
                return None
            if code:
                raise FormatError(f"TPM2_PCR_Read of {name} failed with {code:#x}", code=CODE)
            got = parse_pcr_read(response)
            if not got:
                break
            bank |= got
        if bank:
            values[name] = bank
    return values


def pcr_change(command: bytes, response: bytes) -> PcrChange | None:
    """Say what a command that the TPM has answered did to a PCR; None if it failed or touches none.

    Raises:
        FormatError: the command was accepted, but cannot be decoded.
    """
    if response_code(response):
        return None
    reader = _Reader(command, 0)
    sessions = reader.u16() == _SESSIONS
    reader.u32()
    name = _CHANGES.get(reader.u32())
    if name is None:
        return None
    pcr = reader.u32()
    if pcr >= PCR_COUNT:
        return None  # TPM_RH_NULL: hashes, and extends nothing
    if name is TpmCommand.RESET:
        return PcrChange(command=name, pcr=pcr, digests={})
    if name is TpmCommand.EXTEND:
        reader.take(reader.u32())  # the authorisation area
        return PcrChange(command=name, pcr=pcr, digests=_digest_values(reader))
    # these two hash in the TPM; their response says what came out (behind parameterSize where there are sessions)
    answer = _Reader(response, HEADER + (4 if sessions else 0))
    return PcrChange(command=name, pcr=pcr, digests=_digest_values(answer))


def _digest_values(reader: _Reader) -> dict[str, bytes]:
    """Read a TPML_DIGEST_VALUES (Part 2, 10.9.6)."""
    count = reader.u32()
    if count > len(ALGORITHMS):
        raise FormatError(f"a TPM command carries {count} digests", reader.offset - 4, code=CODE)
    digests = {}
    for _ in range(count):
        alg = reader.u16()
        if alg not in ALGORITHMS:
            raise FormatError(
                f"a TPM command carries a digest of unknown algorithm {alg:#06x}", reader.offset - 2, code=CODE
            )
        name = ALGORITHMS[alg]
        digests[name] = reader.take(SIZES[name])
    return digests


def fold(changes: Iterable[PcrChange], pcr: int, alg: str) -> bytes:
    """Return what a PCR of a bank holds after these changes, from the TPM's start."""
    size = SIZES[alg]
    start = (b"\xff" if pcr in _STARTS_AS_ONES else b"\x00") * size
    value = start
    for change in changes:
        if change.pcr != pcr:
            continue
        if change.command is TpmCommand.RESET:
            value = b"\x00" * size  # from locality 0-3; D-RTM events are not seen in a virtual machine
        elif alg in change.digests:
            value = hashlib.new(alg, value + change.digests[alg]).digest()
    return value
