"""Registers as an in-toto statement (v1), bare or in a DSSE envelope.

No predicate for reference values is vetted by in-toto, so ours is its own, :data:`PREDICATE_TYPE`, described in
``docs/reference-values.md``. The subjects are the inputs that the values were computed from, by their SHA-256; the
predicate holds the rows of ``measurements.json`` that have a value, each with its variant, so that nothing is lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.dsse import Envelope, Signature, decode_envelope, encode_envelope, pre_authentication
from podvm_builder.model.measurement import Basis, Measurement, Status
from podvm_builder.refvalues.keys import VerifyingKey, read_signing_key
from podvm_builder.refvalues.records import as_object, dump, parse_json
from podvm_builder.refvalues.registers import covers_image, flat, only_boot, register_rows, register_values
from podvm_builder.refvalues.registry import ExportRequest, FlatMap, Format, wrong

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "tag:podvm-build,2026:reference-values/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
NO_SUBJECT = "PVB663"
_SHA256 = "sha256:"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencePredicate:
    """What the predicate says."""

    target: str
    evidence: str
    identified_by: tuple[str, ...]
    """Registers that tie a machine to the image; empty where any image passes."""
    rows: tuple[Measurement, ...]
    """Each with a value, without its origin."""


def in_toto(request: ExportRequest) -> bytes:
    """Return the statement, in an envelope where the request has a key.

    Raises:
        InputError: PVB663, nothing says what the values were computed from; PVB665, the key is none.
        Finding: as for every form.
    """
    of_boot = only_boot(request)
    rows = register_rows(request, of_boot)
    identification = request.measurements.identifies_image
    untied = {row.register for row in rows if not covers_image(row)}
    there = {row.register for row in rows}
    predicate = ReferencePredicate(
        target=request.measurements.target,
        evidence=request.measurements.evidence if request.evidence is None else request.evidence,
        identified_by=tuple(
            register
            for register in identification.by
            if identification.value and register in there and register not in untied
        ),
        rows=rows,
    )
    statement = encode_statement(predicate)
    if request.options.key is None:
        return statement
    key = read_signing_key(request.options.key)
    signature = Signature(keyid=key.public.id, sig=key.sign(pre_authentication(PAYLOAD_TYPE, statement)))
    return encode_envelope(Envelope(payload=statement, payload_type=PAYLOAD_TYPE, signatures=(signature,)))


def encode_statement(predicate: ReferencePredicate) -> bytes:
    """Return the statement as JSON.

    Raises:
        InputError: PVB663, no row says what it was computed from, and a statement is about something.
    """
    inputs = dict.fromkeys(basis for row in predicate.rows for basis in row.basis if basis.digest.startswith(_SHA256))
    if not inputs:
        raise InputError(
            "a statement is about an image, and no value says which it was computed from",
            code=NO_SUBJECT,
            hint="measure the built image: `podvm-build measure image DIR`",
        )
    return dump(
        {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": basis.kind, "digest": {"sha256": basis.digest.removeprefix(_SHA256)}} for basis in inputs
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "target": predicate.target,
                "evidence": predicate.evidence,
                "identifiedBy": list(predicate.identified_by),
                "registers": [_row(row) for row in predicate.rows],
            },
        },
        indent=2,
    )


def decode_statement(data: bytes) -> ReferencePredicate:
    """Read a statement.

    Raises:
        FormatError: another type of statement or predicate, or a register that is none (PVB607).
    """
    top = as_object(parse_json(data, "in-toto"), "in-toto")
    if (top.get("_type"), top.get("predicateType")) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise wrong(f"in-toto: not a statement with the predicate `{PREDICATE_TYPE}`")
    predicate = as_object(top.get("predicate"), "in-toto: predicate")
    target, evidence = predicate.get("target"), predicate.get("evidence")
    by, rows = predicate.get("identifiedBy"), predicate.get("registers")
    if not isinstance(target, str) or not isinstance(evidence, str) or not isinstance(rows, list):
        raise wrong("in-toto: the predicate lacks `target`, `evidence` or `registers`")
    if not isinstance(by, list) or not all(isinstance(one, str) for one in by):
        raise wrong("in-toto: `identifiedBy` is not a list of texts")
    found = ReferencePredicate(
        target=target, evidence=evidence, identified_by=tuple(by), rows=tuple(_measurement(row) for row in rows)
    )
    _check_subjects(top.get("subject"), found)
    return found


def read_in_toto(data: bytes) -> FlatMap:
    """Read a statement or an envelope around one; a signature is not checked here.

    Raises:
        FormatError: as :func:`decode_statement`, or the envelope holds something else.
    """
    return flat(register_values(decode_statement(_statement(data)).rows))


def check_in_toto(data: bytes, key: VerifyingKey) -> bool:
    """Say whether an envelope has a signature of this key.

    Raises:
        FormatError: it is no envelope (PVB663).
    """
    envelope = decode_envelope(data)
    signed = pre_authentication(envelope.payload_type, envelope.payload)
    return any(key.verify(one.sig, signed) for one in envelope.signatures)


def _statement(data: bytes) -> bytes:
    if not _is_envelope(data, parse_json(data, "in-toto")):
        return data
    try:
        envelope = decode_envelope(data)
    except FormatError as error:
        raise wrong(f"in-toto: {error.what}") from error
    if envelope.payload_type != PAYLOAD_TYPE:
        raise wrong(f"in-toto: the envelope holds `{envelope.payload_type}`")
    return envelope.payload


def _row(row: Measurement) -> dict[str, Any]:
    assert row.value is not None  # noqa: S101 - rows without a value are not exported
    return {
        "register": row.register,
        "alg": row.alg,
        "status": row.status.value,
        "value": row.value.hex(),
        "variant": dict(row.variant),
        "basis": [{"kind": basis.kind, "digest": basis.digest} for basis in row.basis],
    }


def _measurement(value: object) -> Measurement:
    row = as_object(value, "in-toto: register")
    variant = as_object(row.get("variant"), "in-toto: variant")
    try:
        digest = bytes.fromhex(row["value"])
        if digest.hex() != row["value"] or not digest:
            raise ValueError(row["value"])
        if not all(isinstance(one, str | int) for one in variant.values()):
            raise ValueError("variant")
        return Measurement(
            register=_text(row["register"]),
            alg=_text(row["alg"]),
            status=Status(row["status"]),
            value=digest,
            variant=dict(variant),
            basis=tuple(Basis(kind=_text(one["kind"]), digest=_text(one["digest"])) for one in row["basis"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise wrong(f"in-toto: a register that is none: {error}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"`{value}` is not a text")
    return value


def _check_subjects(subjects: object, predicate: ReferencePredicate) -> None:
    expected: Sequence[Any] = json.loads(encode_statement(predicate))["subject"] if predicate.rows else ()
    if subjects != expected:
        raise wrong("in-toto: the subjects are not what the values were computed from")


def _is_envelope(_: bytes, parsed: object) -> bool:
    return isinstance(parsed, Mapping) and "payloadType" in parsed


def _is_statement(data: bytes, parsed: object) -> bool:
    return _is_envelope(data, parsed) or (isinstance(parsed, Mapping) and "_type" in parsed)


FORMAT = Format(
    name="in-toto",
    title="an in-toto statement with all registers, in a DSSE envelope where `--key` is given",
    file="reference-values.intoto.json",
    media="application/vnd.in-toto+json",
    encode=in_toto,
    decode=read_in_toto,
    recognise=_is_statement,
    heeds=frozenset({"boot", "key", "evidence"}),
    check=check_in_toto,
)
