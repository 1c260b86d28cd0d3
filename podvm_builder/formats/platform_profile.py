"""``podvm-platform/1``: :class:`~podvm_builder.model.platform.PlatformProfile` as a JSON document, both ways.

Events have the form that they have in ``measurements.json``; a place of the image is ``{"image": …, "pcr": …}``.
Reading is strict about what it knows and refuses what it does not: a profile decides values that a verifier compares.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from podvm_builder.errors import FormatError
from podvm_builder.formats.documents import DIGEST_SIZES, event_from_json, event_to_json
from podvm_builder.model.event import Event
from podvm_builder.model.plan import BOOT_PATHS, SECURE_BOOT
from podvm_builder.model.platform import Part, PlatformProfile, Slot

SCHEMA = "podvm-platform/1"
CODE = "PVB264"
MAX_PROFILE = 16 << 20
"""Bytes; those of real machines have less than 100 KiB."""

KINDS = ("tpm", "ccel")
_KEYS = {"schema", "kind", "facts", "boot", "secure_boot", "banks", "locality", "habits", "gaps", "events"}
_FACTS = {"log", "firmware", "vmm", "machine"}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_EVENTS = 4096
_PCRS = 24
_PARTS = {part.value for part in Part}


def encode_profile(profile: PlatformProfile) -> bytes:
    """Return the document: the same profile gives the same bytes."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": profile.kind,
        "facts": dict(sorted(profile.facts.items())),
        "boot": profile.boot,
        "secure_boot": profile.secure_boot,
        "banks": list(profile.banks),
        "locality": profile.locality,
        "habits": dict(sorted(profile.habits.items())),
        "gaps": {str(pcr): reason for pcr, reason in sorted(profile.gaps.items())},
        "events": [
            event_to_json(entry) if isinstance(entry, Event) else {"image": entry.part.value, "pcr": entry.pcr}
            for entry in profile.entries
        ],
    }
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def parse_profile_document(data: bytes) -> PlatformProfile:
    """Read a document.

    Raises:
        FormatError: PVB264, not this schema, an unknown or missing key, or a value that is not what its key says.
    """
    if len(data) > MAX_PROFILE:
        raise FormatError(f"platform profile: larger than {MAX_PROFILE} bytes", code=CODE)
    try:
        top = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"platform profile: not JSON: {error}", code=CODE) from error
    if not isinstance(top, dict) or top.get("schema") != SCHEMA:
        found = top.get("schema") if isinstance(top, dict) else None
        raise FormatError(f"platform profile: `schema` is `{found}`, not `{SCHEMA}`", code=CODE)
    if top.keys() != _KEYS:
        odd = ", ".join(f"`{key}`" for key in sorted(top.keys() ^ _KEYS))
        raise FormatError(f"platform profile: keys that are missing or unknown: {odd}", code=CODE)
    banks = tuple(_list(top, "banks", len(DIGEST_SIZES)))
    if not banks or len(set(banks)) != len(banks) or not all(bank in DIGEST_SIZES for bank in banks):
        raise _wrong("banks")
    return PlatformProfile(
        kind=_one_of(top, "kind", KINDS),
        banks=banks,
        boot=_one_of(top, "boot", BOOT_PATHS),
        secure_boot=_one_of(top, "secure_boot", SECURE_BOOT),
        entries=tuple(_entry(item, f"events[{n}]", banks) for n, item in enumerate(_list(top, "events", _MAX_EVENTS))),
        locality=_number(top["locality"], "locality", 256),
        gaps={_pcr(key): _text(text, f"gaps.{key}") for key, text in _mapping(top, "gaps").items()},
        facts=_facts(_mapping(top, "facts")),
        habits={name: _number(count, f"habits.{name}", 1 << 16) for name, count in _mapping(top, "habits").items()},
        digest=f"sha256:{hashlib.sha256(data).hexdigest()}",
    )


def _entry(value: object, at: str, banks: tuple[str, ...]) -> Event | Slot:
    if isinstance(value, dict) and "image" in value:
        if value.keys() != {"image", "pcr"} or not isinstance(value["image"], str) or value["image"] not in _PARTS:
            raise _wrong(at)
        return Slot(part=Part(value["image"]), pcr=_number(value["pcr"], f"{at}.pcr", _PCRS))
    try:
        event = event_from_json(value, at)
    except FormatError as error:
        raise FormatError(f"platform profile: {error.what}", code=CODE) from error
    if event.pcr >= _PCRS or tuple(event.digests) != banks:
        raise FormatError(f"platform profile: `{at}` has not the digests of `banks`, or no PCR", code=CODE)
    return event


def _facts(found: Mapping[str, object]) -> dict[str, str]:
    facts = {name: _text(value, f"facts.{name}") for name, value in found.items()}
    for name, value in facts.items():
        if name not in _FACTS or (name in ("log", "firmware") and not _DIGEST.fullmatch(value)):
            raise _wrong(f"facts.{name}")
    if "log" not in facts:
        raise _wrong("facts.log")
    return facts


def _pcr(key: str) -> int:
    if not re.fullmatch(r"[0-9]|1[0-9]|2[0-3]", key):
        raise _wrong(f"gaps.{key}")
    return int(key)


def _one_of(top: Mapping[str, object], key: str, known: tuple[str, ...]) -> str:
    value = top[key]
    if not isinstance(value, str) or value not in known:
        raise _wrong(key)
    return value


def _mapping(top: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = top[key]
    if not isinstance(value, dict):
        raise _wrong(key)
    return value


def _list(top: Mapping[str, object], key: str, most: int) -> list[Any]:
    value = top[key]
    if not isinstance(value, list) or len(value) > most:
        raise _wrong(key)
    return value


def _number(value: object, at: str, end: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < end:
        raise _wrong(at)
    return value


def _text(value: object, at: str) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise _wrong(at)
    return value


def _wrong(at: str) -> FormatError:
    return FormatError(f"platform profile: `{at}` is not what it should be", code=CODE)
