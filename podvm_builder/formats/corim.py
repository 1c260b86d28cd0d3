"""CoRIM, concise reference integrity manifests (draft-ietf-rats-corim-11), as far as reference values need it.

A manifest (tag 501) holds CoMIDs (tag 506, CBOR in bytes); a CoMID holds reference triples: an environment and the
measurements that it must have. Of a measurement, its key, its digests and its integrity registers are known here. Keys
of maps and the numbers of digest algorithms (IANA named information) are those of the draft's CDDL. Object identifiers
are those of RFC 9090.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from podvm_builder.errors import FormatError
from podvm_builder.formats.cbor import dumps, loads, tag, untag

CODE = "PVB664"
CORIM_TAG = 501
COMID_TAG = 506
SIGNED_TAGS = (18, 502)
MEDIA_TYPE = "application/rim+cbor"
SIGNED_MEDIA_TYPE = "application/rim+cose"
ALGORITHMS = {"sha256": 1, "sha384": 7, "sha512": 8}
"""Named information hash algorithms by name."""

_CORIM = {"id": 0, "tags": 1, "profile": 3}
_COMID = {"identity": 1, "triples": 4}
_CLASS = {"id": 0, "vendor": 1, "model": 2}
_DIGESTS = 2
_REGISTERS = 14
_URI_TAG = 32
_OID_TAG = 111
_MAX_OID = 256
"""Bytes."""

Digests = tuple[tuple[str, bytes], ...]
"""Algorithm and digest, at least one."""


@dataclass(frozen=True, slots=True)
class Oid:
    """An object identifier."""

    arcs: tuple[int, ...]
    """Two or more; the first is 0 to 2, and under 0 and 1 the second is 0 to 39."""

    def encode(self) -> bytes:
        """Return the content of its BER form (X.690 §8.19), without tag and length."""
        first, second, *rest = self.arcs
        return b"".join(_base128(number) for number in (40 * first + second, *rest))

    def __str__(self) -> str:
        """Return it with dots."""
        return ".".join(map(str, self.arcs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What is measured, by its class."""

    class_id: UUID | None = None
    vendor: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorimMeasurement:
    """One measurement: digests, or integrity registers."""

    key: str | int | None = None
    digests: Digests = ()
    registers: tuple[tuple[str, Digests], ...] = ()
    """By name; no name stands twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceTriple:
    """An environment with the measurements that it must have."""

    environment: Environment
    measurements: tuple[CorimMeasurement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corim:
    """A manifest with one CoMID."""

    id: str
    tag_id: str
    triples: tuple[ReferenceTriple, ...]
    profile: str | Oid | None = None
    """A URI or an object identifier."""


def encode_corim(corim: Corim) -> bytes:
    """Return the tagged manifest, unsigned.

    Raises:
        Lacking: PVB658, ``cbor2`` is not installed.
    """
    triples = [
        [_encode_environment(triple.environment), [_encode_measurement(one) for one in triple.measurements]]
        for triple in corim.triples
    ]
    comid = {_COMID["identity"]: {0: corim.tag_id}, _COMID["triples"]: {0: triples}}
    body: dict[int, Any] = {_CORIM["id"]: corim.id, _CORIM["tags"]: [tag(COMID_TAG, dumps(comid))]}
    if corim.profile is not None:
        body[_CORIM["profile"]] = (
            tag(_OID_TAG, corim.profile.encode()) if isinstance(corim.profile, Oid) else tag(_URI_TAG, corim.profile)
        )
    return dumps(tag(CORIM_TAG, body))


def decode_corim(data: bytes) -> Corim:
    """Read a tagged, unsigned manifest of the parts that are known here.

    Raises:
        FormatError: PVB664, it is none, or has parts that are not known here.
        Lacking: PVB658, ``cbor2`` is not installed.
    """
    body = untag(loads(data, "CoRIM", CODE), CORIM_TAG, "CoRIM", CODE)
    corim = _map(body, _CORIM.values(), "CoRIM")
    tags = corim.get(1)
    if not isinstance(corim.get(0), str) or tags is None or not _is_array(tags) or len(tags) != 1:
        raise _wrong("CoRIM: no text as its id, or not one tag")
    inner = untag(tags[0], COMID_TAG, "CoMID", CODE)
    if not isinstance(inner, bytes):
        raise _wrong("CoMID: not bytes")
    comid = _map(loads(inner, "CoMID", CODE), _COMID.values(), "CoMID")
    identity = _map(comid.get(1), (0,), "CoMID: tag identity")
    triples = _map(comid.get(4), (0,), "CoMID: triples").get(0)
    if not isinstance(identity.get(0), str) or not _is_array(triples) or not triples:
        raise _wrong("CoMID: no tag id, or no reference triples")
    profile = _decode_profile(corim[3]) if 3 in corim else None
    return Corim(
        id=corim[0],
        tag_id=identity[0],
        profile=profile,
        triples=tuple(_decode_triple(one) for one in triples),
    )


def _encode_environment(environment: Environment) -> dict[int, Any]:
    found: dict[int, Any] = {}
    if environment.class_id is not None:
        found[_CLASS["id"]] = environment.class_id  # cbor2 writes tag 37
    if environment.vendor is not None:
        found[_CLASS["vendor"]] = environment.vendor
    if environment.model is not None:
        found[_CLASS["model"]] = environment.model
    return {0: found}


def _encode_measurement(one: CorimMeasurement) -> dict[int, Any]:
    value: dict[int, Any] = {}
    if one.digests:
        value[_DIGESTS] = _encode_digests(one.digests)
    if one.registers:
        value[_REGISTERS] = {name: _encode_digests(digests) for name, digests in one.registers}
    return {1: value} if one.key is None else {0: one.key, 1: value}


def _encode_digests(digests: Digests) -> list[list[int | bytes]]:
    return [[ALGORITHMS[alg], digest] for alg, digest in digests]


def _decode_profile(value: Any) -> str | Oid:
    try:
        profile = untag(value, _URI_TAG, "CoRIM: profile", CODE)
    except FormatError:
        return _decode_oid(untag(value, _OID_TAG, "CoRIM: profile", CODE))
    if not isinstance(profile, str):
        raise _wrong("CoRIM: a profile's URI is no text")
    return profile


def _decode_oid(data: Any) -> Oid:
    if not isinstance(data, bytes) or not 0 < len(data) <= _MAX_OID:
        raise _wrong("CoRIM: a profile that is no object identifier")
    numbers = [0]
    for byte in data:
        numbers[-1] = numbers[-1] << 7 | byte & 0x7F
        if byte < 0x80:
            numbers.append(0)
    first = min(numbers[0] // 40, 2)
    oid = Oid((first, numbers[0] - 40 * first, *numbers[1:-1]))
    # bytes that do not end, or are not the shortest, are others
    if oid.encode() != data:
        raise _wrong("CoRIM: a profile that is no object identifier")
    return oid


def _base128(number: int) -> bytes:
    data = [number & 0x7F]
    while number := number >> 7:
        data.append(number & 0x7F | 0x80)
    return bytes(reversed(data))


def _decode_triple(value: Any) -> ReferenceTriple:
    if not _is_array(value) or len(value) != 2 or not _is_array(value[1]) or not value[1]:
        raise _wrong("CoMID: a reference triple that is none")
    environment = _map(value[0], (0,), "CoMID: environment")
    found = _map(environment.get(0), _CLASS.values(), "CoMID: class")
    class_id, vendor, model = found.get(0), found.get(1), found.get(2)
    if not isinstance(class_id, UUID | None) or not all(isinstance(one, str | None) for one in (vendor, model)):
        raise _wrong("CoMID: a class whose id is no UUID, or whose vendor or model is no text")
    return ReferenceTriple(
        environment=Environment(class_id=class_id, vendor=vendor, model=model),
        measurements=tuple(_decode_measurement(one) for one in value[1]),
    )


def _decode_measurement(value: Any) -> CorimMeasurement:
    measurement = _map(value, (0, 1), "CoMID: measurement")
    key, held = measurement.get(0), _map(measurement.get(1), (_DIGESTS, _REGISTERS), "CoMID: value")
    if not isinstance(key, str | int | None) or isinstance(key, bool) or not held:
        raise _wrong("CoMID: a measurement whose key is no text or number, or without a value")
    registers: Any = held.get(_REGISTERS, {})
    if not isinstance(registers, Mapping) or not all(isinstance(name, str) for name in registers):
        raise _wrong("CoMID: integrity registers whose names are no texts")
    if _REGISTERS in held and not registers:
        raise _wrong("CoMID: no integrity registers")
    return CorimMeasurement(
        key=key,
        digests=_decode_digests(held[_DIGESTS]) if _DIGESTS in held else (),
        registers=tuple((name, _decode_digests(digests)) for name, digests in registers.items()),
    )


def _decode_digests(value: Any) -> Digests:
    if not _is_array(value) or not value:
        raise _wrong("CoMID: no digests")
    return tuple(_decode_digest(one) for one in value)


def _decode_digest(value: Any) -> tuple[str, bytes]:
    names = {number: name for name, number in ALGORITHMS.items()}
    if not _is_array(value) or len(value) != 2 or not isinstance(value[0], int) or value[0] not in names:
        raise _wrong("CoMID: a digest of an unknown algorithm")
    if not isinstance(value[1], bytes) or len(value[1]) != int(names[value[0]][3:]) // 8:
        raise _wrong("CoMID: a digest of the wrong size")
    return names[value[0]], value[1]


def _is_array(value: Any) -> bool:
    # cbor2 gives what stands in a tag as it cannot be changed
    return isinstance(value, list | tuple)


def _map(value: Any, known: Iterable[int], what: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(f"{what}: not a map")
    unknown = value.keys() - set(known)
    if unknown:
        raise _wrong(f"{what}: keys that are not known here: {', '.join(sorted(map(str, unknown)))}")
    return value


def _wrong(message: str) -> FormatError:
    return FormatError(message, code=CODE)
