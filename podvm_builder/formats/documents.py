"""``measurements.json``: the values of :mod:`podvm_builder.model.measurement` as JSON, both ways.

Schema ``podvm-measurements/1``. Bytes are lower-case hex, guest addresses ``0x…``; a register's ``from`` names
the event log (``{"log": "disk"}``) or the regions (``{"regions": "ovmf-3e4f"}``) that its value is the fold of.
Reading is strict about what it knows and ignores keys that it does not, so that other tools may add their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from podvm_builder.errors import FormatError
from podvm_builder.formats.facts import facts_from_json, facts_to_json
from podvm_builder.formats.json_names import once
from podvm_builder.model.measurement import Basis, Identification, Measurement, MeasurementSet, Status
from podvm_builder.model.region import Region

if TYPE_CHECKING:
    from podvm_builder.model.event import Event  # `measure snp` writes documents without any

SCHEMA = "podvm-measurements/1"
CODE = "PVB202"
DIGEST_SIZES = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64, "sm3_256": 32}
"""Digest length in bytes per hash algorithm that a register or an event may name."""

MAX_DOCUMENT = 64 << 20
"""Bytes; a sweep over 2,048 variants is about 1.5 MB."""


def measurements_to_json(measurements: MeasurementSet) -> dict[str, Any]:
    """Return the document as JSON values, keys in the schema's order."""
    identification = measurements.identifies_image
    return {
        "schema": SCHEMA,
        "target": measurements.target or None,
        "ids": dict(measurements.ids),
        "flags": list(measurements.flags),
        "evidence": measurements.evidence,
        "boots": list(measurements.boots),
        "facts": facts_to_json(measurements.facts),
        "identifies_image": {
            "value": identification.value,
            "by": list(identification.by),
            "reason": identification.reason,
        },
        "logs": {name: [event_to_json(event) for event in log] for name, log in measurements.logs.items()},
        "regions": {
            name: [_region_to_json(region) for region in regions] for name, regions in measurements.regions.items()
        },
        "measurements": [measurement_to_json(measurement) for measurement in measurements.measurements],
    }


def measurement_to_json(measurement: Measurement) -> dict[str, Any]:
    """Return one register's row; ``value`` and ``reason`` are always there, null where there is none."""
    row: dict[str, Any] = {
        "register": measurement.register,
        "alg": measurement.alg,
        "status": measurement.status.value,
        "value": None if measurement.value is None else measurement.value.hex(),
        "reason": measurement.reason,
        "variant": dict(measurement.variant),
    }
    if measurement.basis:
        row["basis"] = [{"kind": basis.kind, "digest": basis.digest} for basis in measurement.basis]
    if measurement.origin is not None:
        row["from"] = {measurement.origin[0]: measurement.origin[1]}
    return row


def event_to_json(event: Event) -> dict[str, Any]:
    """Return one event of a log."""
    row: dict[str, Any] = {
        "pcr": event.pcr,
        "kind": event.kind,
        "digests": {alg: digest.hex() for alg, digest in event.digests.items()},
        "subject": event.subject,
        "source": event.source,
    }
    if event.data:
        row["data"] = event.data.hex()
    return row


def _region_to_json(region: Region) -> dict[str, Any]:
    return {
        "source": region.source,
        "gpa": f"{region.gpa:#x}",
        "length": region.length,
        "page_type": region.page_type,
        "digest": None if region.digest is None else region.digest.hex(),
    }


def parse_measurements(data: bytes) -> MeasurementSet:
    """Read the bytes of a ``measurements.json``.

    Raises:
        FormatError: not UTF-8 JSON, a name that stands twice, too large, or not this schema; the message names the key.
    """
    if len(data) > MAX_DOCUMENT:
        raise FormatError(f"measurements: larger than {MAX_DOCUMENT} bytes", code=CODE)
    try:
        value = json.loads(data, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"measurements: not JSON: {error}", code=CODE) from error
    return measurements_from_json(value)


def measurements_from_json(value: object) -> MeasurementSet:
    """Read JSON values into a :class:`MeasurementSet`.

    Raises:
        FormatError: another schema, a missing key, or a value that is not what its key says.
    """
    top = _mapping(value, "measurements.json")
    schema = top.get("schema")
    if schema != SCHEMA:
        raise FormatError(f"`schema` is `{schema}`, not `{SCHEMA}`", code=CODE)
    identifies = _mapping(_key(top, "identifies_image", ""), "identifies_image")
    return MeasurementSet(
        target="" if _key(top, "target", "") is None else _text(top["target"], "target"),
        ids={name: _text(text, f"ids.{name}") for name, text in _mapping(_key(top, "ids", ""), "ids").items()},
        flags=_texts(top.get("flags", []), "flags"),
        evidence=_text(top.get("evidence", ""), "evidence"),
        boots=_texts(top.get("boots", []), "boots"),
        facts=facts_from_json(top.get("facts", {}), "facts", code=CODE),
        identifies_image=Identification(
            value=_bool(_key(identifies, "value", "identifies_image."), "identifies_image.value"),
            by=_texts(_key(identifies, "by", "identifies_image."), "identifies_image.by"),
            reason=_text(_key(identifies, "reason", "identifies_image."), "identifies_image.reason"),
        ),
        logs={
            name: tuple(event_from_json(item, f"logs.{name}[{i}]") for i, item in enumerate(_list(log, f"logs.{name}")))
            for name, log in _mapping(top.get("logs", {}), "logs").items()
        },
        regions={
            name: tuple(_region(item, f"regions.{name}[{i}]") for i, item in enumerate(_list(items, f"regions.{name}")))
            for name, items in _mapping(top.get("regions", {}), "regions").items()
        },
        measurements=tuple(
            _measurement(item, f"measurements[{i}]")
            for i, item in enumerate(_list(_key(top, "measurements", ""), "measurements"))
        ),
    )


def _measurement(value: object, at: str) -> Measurement:
    row = _mapping(value, at)
    alg = _alg(_key(row, "alg", f"{at}."), f"{at}.alg")
    status = _text(_key(row, "status", f"{at}."), f"{at}.status")
    if status not in {known.value for known in Status}:
        raise FormatError(f"`{at}.status`: `{status}` is not a status", code=CODE)
    register_value = row.get("value")
    reason = row.get("reason")
    try:
        return Measurement(
            register=_text(_key(row, "register", f"{at}."), f"{at}.register"),
            alg=alg,
            status=Status(status),
            value=None if register_value is None else _digest(register_value, alg, f"{at}.value"),
            reason=None if reason is None else _text(reason, f"{at}.reason"),
            variant={
                name: _scalar(item, f"{at}.variant.{name}")
                for name, item in _mapping(row.get("variant", {}), f"{at}.variant").items()
            },
            basis=tuple(
                _basis(item, f"{at}.basis[{i}]") for i, item in enumerate(_list(row.get("basis", []), f"{at}.basis"))
            ),
            origin=_origin(row.get("from"), f"{at}.from"),
        )
    except ValueError as error:
        raise FormatError(f"`{at}`: {error}", code=CODE) from error


def _basis(value: object, at: str) -> Basis:
    row = _mapping(value, at)
    return Basis(
        kind=_text(_key(row, "kind", f"{at}."), f"{at}.kind"),
        digest=_text(_key(row, "digest", f"{at}."), f"{at}.digest"),
    )


def _origin(value: object, at: str) -> tuple[str, str] | None:
    if value is None:
        return None
    row = _mapping(value, at)
    found = [(kind, _text(row[kind], f"{at}.{kind}")) for kind in ("log", "regions") if kind in row]
    if len(found) != 1:
        raise FormatError(f"`{at}`: names neither one log nor one list of regions", code=CODE)
    return found[0]


def event_from_json(value: object, at: str) -> Event:
    """Read one event of a log; ``at`` is where it stands, for errors.

    Raises:
        FormatError: PVB202.
    """
    from podvm_builder.model.event import Event

    row = _mapping(value, at)
    digests = _mapping(_key(row, "digests", f"{at}."), f"{at}.digests")
    return Event(
        pcr=_natural(_key(row, "pcr", f"{at}."), f"{at}.pcr"),
        kind=_text(_key(row, "kind", f"{at}."), f"{at}.kind"),
        digests={
            _alg(alg, f"{at}.digests"): _digest(digest, alg, f"{at}.digests.{alg}") for alg, digest in digests.items()
        },
        subject=_text(_key(row, "subject", f"{at}."), f"{at}.subject"),
        source=_text(_key(row, "source", f"{at}."), f"{at}.source"),
        data=_bytes(row.get("data", ""), f"{at}.data"),
    )


def _region(value: object, at: str) -> Region:
    row = _mapping(value, at)
    gpa = _text(_key(row, "gpa", f"{at}."), f"{at}.gpa")
    digest = row.get("digest")
    # int(…, 16) also takes `0x_1f` and ` 0x1f`: only what we write is read back
    if not gpa.startswith("0x") or not gpa[2:] or not set(gpa[2:]) <= set("0123456789abcdef"):
        raise FormatError(f"`{at}.gpa`: `{gpa}` is not a lower-case hexadecimal address", code=CODE)
    return Region(
        source=_text(_key(row, "source", f"{at}."), f"{at}.source"),
        gpa=int(gpa, 16),
        length=_natural(_key(row, "length", f"{at}."), f"{at}.length"),
        page_type=_text(_key(row, "page_type", f"{at}."), f"{at}.page_type"),
        digest=None if digest is None else _bytes(digest, f"{at}.digest"),
    )


def _key(row: Mapping[str, object], name: str, at: str) -> object:
    if name not in row:
        raise FormatError(f"`{at}{name}` is missing", code=CODE)
    return row[name]


def _mapping(value: object, at: str) -> Mapping[str, object]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise FormatError(f"`{at}` is not an object", code=CODE)
    for key in value:
        _text(key, f"{at}, a key")
    return value


def _list(value: object, at: str) -> Sequence[object]:
    if not isinstance(value, list):
        raise FormatError(f"`{at}` is not a list", code=CODE)
    return value


def _text(value: object, at: str) -> str:
    if not isinstance(value, str):
        raise FormatError(f"`{at}` is not a text", code=CODE)
    try:
        value.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair: JSON can spell it, UTF-8 cannot
        raise FormatError(f"`{at}` is not Unicode text", code=CODE) from error
    return value


def _texts(value: object, at: str) -> tuple[str, ...]:
    return tuple(_text(item, f"{at}[{i}]") for i, item in enumerate(_list(value, at)))


def _bool(value: object, at: str) -> bool:
    if not isinstance(value, bool):
        raise FormatError(f"`{at}` is neither true nor false", code=CODE)
    return value


def _natural(value: object, at: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise FormatError(f"`{at}` is not a whole number from 0", code=CODE)
    return value


def _scalar(value: object, at: str) -> str | int | bool:
    if not isinstance(value, str | int):
        raise FormatError(f"`{at}` is neither a text, a whole number nor a boolean", code=CODE)
    return value


def _alg(value: object, at: str) -> str:
    alg = _text(value, at)
    if alg not in DIGEST_SIZES:
        raise FormatError(f"`{at}`: `{alg}` is not a hash algorithm known here", code=CODE)
    return alg


def _bytes(value: object, at: str) -> bytes:
    text = _text(value, at)
    if len(text) % 2 or not set(text) <= set("0123456789abcdef"):
        raise FormatError(f"`{at}` is not lower-case hex", code=CODE)
    return bytes.fromhex(text)


def _digest(value: object, alg: str, at: str) -> bytes:
    digest = _bytes(value, at)
    if len(digest) != DIGEST_SIZES.get(alg, len(digest)):
        raise FormatError(f"`{at}` has {len(digest)} bytes; {alg} has {DIGEST_SIZES[alg]}", code=CODE)
    return digest
