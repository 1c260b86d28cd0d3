"""TCG event logs (TPM 1.2 form and crypto-agile form) and CCEL tables: parse and write.

Specifications: TCG PC Client Platform Firmware Profile 1.06 §10 (log formats and event types); UEFI 2.10 §38.4.1 for
confidential-computing logs, whose index is a measurement register: 0 MRTD, 1-4 RTMR0-RTMR3. Little-endian throughout.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from podvm_builder.errors import FormatError

CODE = "PVB244"
ALGORITHMS = {0x04: "sha1", 0x0B: "sha256", 0x0C: "sha384", 0x0D: "sha512", 0x12: "sm3_256"}
"""TPM_ALG_ID to hash name."""

EV_NO_ACTION = 0x03
EV_SEPARATOR = 0x04
EVENT_NAMES = {
    0x00: "EV_PREBOOT_CERT",
    0x01: "EV_POST_CODE",
    0x03: "EV_NO_ACTION",
    0x04: "EV_SEPARATOR",
    0x05: "EV_ACTION",
    0x06: "EV_EVENT_TAG",
    0x07: "EV_S_CRTM_CONTENTS",
    0x08: "EV_S_CRTM_VERSION",
    0x09: "EV_CPU_MICROCODE",
    0x0A: "EV_PLATFORM_CONFIG_FLAGS",
    0x0B: "EV_TABLE_OF_DEVICES",
    0x0C: "EV_COMPACT_HASH",
    0x0D: "EV_IPL",
    0x0E: "EV_IPL_PARTITION_DATA",
    0x0F: "EV_NONHOST_CODE",
    0x10: "EV_NONHOST_CONFIG",
    0x11: "EV_NONHOST_INFO",
    0x12: "EV_OMIT_BOOT_DEVICE_EVENTS",
    0x13: "EV_POST_CODE2",
    0x80000001: "EV_EFI_VARIABLE_DRIVER_CONFIG",
    0x80000002: "EV_EFI_VARIABLE_BOOT",
    0x80000003: "EV_EFI_BOOT_SERVICES_APPLICATION",
    0x80000004: "EV_EFI_BOOT_SERVICES_DRIVER",
    0x80000005: "EV_EFI_RUNTIME_SERVICES_DRIVER",
    0x80000006: "EV_EFI_GPT_EVENT",
    0x80000007: "EV_EFI_ACTION",
    0x80000008: "EV_EFI_PLATFORM_FIRMWARE_BLOB",
    0x80000009: "EV_EFI_HANDOFF_TABLES",
    0x8000000A: "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
    0x8000000B: "EV_EFI_HANDOFF_TABLES2",
    0x8000000C: "EV_EFI_VARIABLE_BOOT2",
    0x8000000D: "EV_EFI_GPT_EVENT2",
    0x80000010: "EV_EFI_HCRTM_EVENT",
    0x800000E0: "EV_EFI_VARIABLE_AUTHORITY",
    0x800000E1: "EV_EFI_SPDM_FIRMWARE_BLOB",
    0x800000E2: "EV_EFI_SPDM_FIRMWARE_CONFIG",
}

MAX_EVENT = 16 << 20
"""Bytes of one event's data; real logs stay below 1 MiB."""
_MAX_REGISTERS = 24
_SPEC_ID = b"Spec ID Event03\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """One entry of a log."""

    index: int
    """PCR, or measurement register in a confidential-computing log."""
    kind: int
    """Event type; :data:`EVENT_NAMES` has names."""
    digests: Mapping[str, bytes]
    data: bytes
    offset: int = field(default=0, compare=False)
    """Where the entry begins in the log."""

    @property
    def name(self) -> str:
        """The event type's name, or its number."""
        return EVENT_NAMES.get(self.kind, f"{self.kind:#010x}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLog:
    """A whole log."""

    crypto_agile: bool
    """Whether the events stand in the TPM 2.0 form; else each has one SHA-1 digest."""
    algorithms: tuple[str, ...]
    """Banks that every event has a digest for."""
    events: tuple[LogEvent, ...]
    """Without the header event of a crypto-agile log."""


def parse_event_log(data: bytes) -> EventLog:
    """Read a log in either form; padding of 0xFF or of zeros behind the last event is accepted.

    Raises:
        FormatError: truncated or absurd entries, a digest for an unknown algorithm, banks that differ by event.
    """
    if not data:
        raise FormatError("event log: empty", 0, code=CODE)
    first, position = _legacy_event(data, 0)
    if first.kind != EV_NO_ACTION or not first.data.startswith(_SPEC_ID):
        return _legacy_log(data)
    sizes = _spec_id(first)
    events: list[LogEvent] = []
    while not _at_end(data, position):
        event, position = _agile_event(data, position, sizes)
        events.append(event)
    return EventLog(crypto_agile=True, algorithms=tuple(_name(alg) for alg in sizes), events=tuple(events))


def encode_event_log(log: EventLog) -> bytes:
    """Write a log; :func:`parse_event_log` gives the same log back."""
    if not log.crypto_agile:
        return b"".join(
            struct.pack("<II20sI", event.index, event.kind, event.digests["sha1"], len(event.data)) + event.data
            for event in log.events
        )
    numbers = {name: number for number, name in ALGORITHMS.items()}
    banks = [(numbers[name], hashlib.new(name).digest_size) for name in log.algorithms]
    header = _SPEC_ID + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, len(banks))
    header += b"".join(struct.pack("<HH", number, size) for number, size in banks) + b"\0"
    parts = [struct.pack("<II20sI", 0, EV_NO_ACTION, bytes(20), len(header)) + header]
    for event in log.events:
        parts.append(struct.pack("<III", event.index, event.kind, len(event.digests)))
        parts += [struct.pack("<H", numbers[name]) + digest for name, digest in event.digests.items()]
        parts.append(struct.pack("<I", len(event.data)) + event.data)
    return b"".join(parts)


def _at_end(data: bytes, position: int) -> bool:
    """Say whether nothing but padding is left."""
    if position == len(data):
        return True
    if data[position : position + 4] == b"\xff\xff\xff\xff":
        return True
    # an event of zeros would be an EV_PREBOOT_CERT without digests: only padding looks like that
    return not data[position : position + 12].strip(b"\0") and not data[position:].strip(b"\0")


def _legacy_log(data: bytes) -> EventLog:
    events: list[LogEvent] = []
    position = 0
    while position < len(data):
        # a SHA-1 log's zero entry is 32 bytes; shorter or longer, only zeros to the end are padding
        if data[position : position + 4] == b"\xff\xff\xff\xff" or not data[position : position + 32].strip(b"\0"):
            if data[position:].strip(data[position : position + 1]):
                raise FormatError("event log: data behind the padding", position, code=CODE)
            break
        event, position = _legacy_event(data, position)
        events.append(event)
    return EventLog(crypto_agile=False, algorithms=("sha1",), events=tuple(events))


def _legacy_event(data: bytes, at: int) -> tuple[LogEvent, int]:
    if at + 32 > len(data):
        raise FormatError("event log: truncated inside an event's header", at, code=CODE)
    index, kind, digest, size = struct.unpack_from("<II20sI", data, at)
    _check_index(index, at)
    return _finish(data, at, at + 32, (index, kind, {"sha1": digest}, size))


def _agile_event(data: bytes, at: int, sizes: Mapping[int, int]) -> tuple[LogEvent, int]:
    if at + 12 > len(data):
        raise FormatError("event log: truncated inside an event's header", at, code=CODE)
    index, kind, count = struct.unpack_from("<III", data, at)
    _check_index(index, at)
    if count != len(sizes):
        raise FormatError(f"event log: an event with {count} digests in a log of {len(sizes)} banks", at, code=CODE)
    position = at + 12
    digests: dict[str, bytes] = {}
    for _ in range(count):
        algorithm = int.from_bytes(data[position : position + 2], "little")
        if algorithm not in sizes or _name(algorithm) in digests:
            raise FormatError(f"event log: unexpected digest algorithm {algorithm:#06x}", position, code=CODE)
        end = position + 2 + sizes[algorithm]
        if end + 4 > len(data):
            raise FormatError("event log: truncated inside a digest", position, code=CODE)
        digests[_name(algorithm)] = data[position + 2 : end]
        position = end
    (size,) = struct.unpack_from("<I", data, position)
    return _finish(data, at, position + 4, (index, kind, digests, size))


def _finish(data: bytes, at: int, position: int, head: tuple[int, int, dict[str, bytes], int]) -> tuple[LogEvent, int]:
    index, kind, digests, size = head
    if size > MAX_EVENT or position + size > len(data):
        raise FormatError(f"event log: {size} bytes of event data do not fit the log", at, code=CODE)
    event = LogEvent(index=index, kind=kind, digests=digests, data=data[position : position + size], offset=at)
    return event, position + size


def _check_index(index: int, at: int) -> None:
    if index >= _MAX_REGISTERS:
        raise FormatError(f"event log: register {index} does not exist", at, code=CODE)


def _spec_id(event: LogEvent) -> dict[int, int]:
    """Return the banks that the header event announces: algorithm number to digest size, in order."""
    data = event.data
    at = event.offset + 32
    if len(data) < 28:
        raise FormatError("event log: truncated `Spec ID Event03`", at, code=CODE)
    (count,) = struct.unpack_from("<I", data, 24)
    end = 28 + 4 * count
    if not 0 < count <= 16 or end >= len(data) or end + 1 + data[end] != len(data):
        raise FormatError(f"event log: `Spec ID Event03` with {count} algorithms has another length", at, code=CODE)
    sizes: dict[int, int] = {}
    for position in range(28, end, 4):
        algorithm, size = struct.unpack_from("<HH", data, position)
        known = _SIZES.get(algorithm)
        if known is None or known != size or algorithm in sizes:
            raise FormatError(f"event log: bank {algorithm:#06x} of {size} bytes", at + position, code=CODE)
        sizes[algorithm] = size
    return sizes


_SIZES = {0x04: 20, 0x0B: 32, 0x0C: 48, 0x0D: 64, 0x12: 32}


def _name(algorithm: int) -> str:
    return ALGORITHMS[algorithm]
