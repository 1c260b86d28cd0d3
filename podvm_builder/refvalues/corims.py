"""Registers as a CoRIM: the flat form that Trustee's extractor reads, and AMD's profile.

Trustee (0.20 and newer) reads the reference triples of an unsigned CoRIM and names a value by vendor, model and the
measurement's key, ``podvm-build/snp/snp.launch_digest.sha384/digests``; it drops the algorithm, so that stands in the
key. Its default policy asks for no such name.

AMD's profile (draft-deeglaze-amd-sev-snp-corim-profile-02) knows the launch digest as key 641 of the processor's
environment, which the kind of the endorsement key and the product decide. Intel's is in :mod:`.corims_intel`.

Of the two, the one is for a verifier that takes any of a list of digests, the other for one that takes any of several
triples.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats import corim as rim
from podvm_builder.formats.cbor import dumps
from podvm_builder.formats.cose import (
    ALG,
    CONTENT_TYPE,
    EDDSA,
    ES256,
    ES384,
    KID,
    Sign1,
    decode_sign1,
    encode_sign1,
    to_be_signed,
)
from podvm_builder.model.measurement import Measurement
from podvm_builder.refvalues.keys import ED25519, P256, P384, VerifyingKey, read_signing_key
from podvm_builder.refvalues.records import bounded
from podvm_builder.refvalues.registers import RegisterValue, flat, only_boot, register_rows, register_values
from podvm_builder.refvalues.registry import ExportRequest, FlatMap, Format, wrong

VENDOR = "podvm-build"
AMD_PROFILE = "tag:amd.com,2025:snp-corim-profile"
AMD_BY_CHIP = UUID("d05e6d1b-9f46-4ae2-a610-ce3e6ee7e153")
AMD_BY_PROVIDER = UUID("89a7a1f0-e704-4faa-acbd-81c86df8a961")
AMD_MEASUREMENT = 641
NO_PRODUCT = "PVB660"

_META = 8
"""COSE header of a CoRIM's metadata: bytes with the map of the signer and its name."""
_ALGORITHMS = {ED25519: EDDSA, P256: ES256, P384: ES384}
_PROVIDER_KEYS = ("aws",)
"""Clouds whose machines sign reports with a key of the provider's (VLEK)."""
_REGISTER = "snp.launch_digest"


def corim(request: ExportRequest) -> bytes:
    """Return the flat form.

    Raises:
        Lacking: PVB658, ``cbor2`` is not installed.
        Finding: as for every form.
    """
    of_boot = only_boot(request)
    values = register_values(register_rows(request, lambda row: row.alg in rim.ALGORITHMS and of_boot(row)))
    evidence = request.measurements.evidence if request.evidence is None else request.evidence
    measurements = tuple(
        rim.CorimMeasurement(key=f"{one.register}.{one.alg}", digests=tuple((one.alg, value) for value in one.values))
        for one in values
    )
    environment = rim.Environment(vendor=VENDOR, model=evidence or "any")
    return finish(request, (rim.ReferenceTriple(environment=environment, measurements=measurements),), None)


def corim_amd(request: ExportRequest) -> bytes:
    """Return AMD's profile: a triple for each launch digest.

    Raises:
        InputError: PVB660, the product is not said.
        Lacking: PVB658, ``cbor2`` is not installed.
        Finding: as for every form.
    """
    if not request.options.product:
        raise InputError(
            "AMD's profile names the processor's product, which no measurement says",
            code=NO_PRODUCT,
            hint="`--product Milan`, Genoa, Turin …: the machines' processors, not the model that guests see",
        )
    of_boot = only_boot(request)

    def wanted(row: Measurement) -> bool:
        return row.register == _REGISTER and row.alg == "sha384" and of_boot(row)

    (digests,) = register_values(register_rows(request, wanted))
    cloud = request.measurements.target.partition(":")[0].split("/")[-1].partition("+")[0]
    environment = rim.Environment(
        class_id=AMD_BY_PROVIDER if cloud in _PROVIDER_KEYS else AMD_BY_CHIP, model=request.options.product
    )
    triples = tuple(
        rim.ReferenceTriple(
            environment=environment,
            measurements=(rim.CorimMeasurement(key=AMD_MEASUREMENT, digests=(("sha384", value),)),),
        )
        for value in digests.values
    )
    return finish(request, triples, AMD_PROFILE)


def read_corim(data: bytes) -> FlatMap:
    """Read the flat form, signed or not; a signature is not checked here.

    Raises:
        FormatError: it is not this form (PVB607).
        Lacking: PVB658, ``cbor2`` is not installed.
    """
    found = read_manifest(data, "corim")
    values = []
    for triple in found.triples:
        for one in triple.measurements:
            register, _, alg = str(one.key).rpartition(".")
            if {name for name, _ in one.digests} != {alg} or not register:
                raise wrong(f"corim: `{one.key}` does not name a register and the algorithm of its digests")
            values.append(RegisterValue(register=register, alg=alg, values=tuple(value for _, value in one.digests)))
    if found.profile is not None or any(triple.environment.vendor != VENDOR for triple in found.triples):
        raise wrong("corim: not the flat form")
    return flat(values)


def read_corim_amd(data: bytes) -> FlatMap:
    """Read AMD's profile, signed or not; a signature is not checked here.

    Raises:
        FormatError: it is not this form (PVB607).
        Lacking: PVB658, ``cbor2`` is not installed.
    """
    found = read_manifest(data, "corim-amd")
    values: list[bytes] = []
    for triple in found.triples:
        for one in triple.measurements:
            if one.key != AMD_MEASUREMENT or [alg for alg, _ in one.digests] != ["sha384"]:
                raise wrong(f"corim-amd: key `{one.key}` is not a launch digest")
            values.append(one.digests[0][1])
    if found.profile != AMD_PROFILE:
        raise wrong(f"corim-amd: the profile is not `{AMD_PROFILE}`")
    return flat([RegisterValue(register=_REGISTER, alg="sha384", values=tuple(values))])


def check_corim(data: bytes, key: VerifyingKey) -> bool:
    """Say whether a CoRIM has a signature of this key.

    Raises:
        FormatError: it is not signed (PVB664).
    """
    message = decode_sign1(data)
    if message.header.get(ALG) != _ALGORITHMS[key.kind]:
        return False
    return key.verify(message.signature, to_be_signed(message.protected, message.payload))


def finish(request: ExportRequest, triples: tuple[rim.ReferenceTriple, ...], profile: str | rim.Oid | None) -> bytes:
    """Return a manifest that is named by its content, signed where the request has a key.

    Raises:
        InputError: PVB665, the key cannot sign.
        Lacking: PVB658, ``cbor2`` is not installed.
    """
    said = rim.encode_corim(rim.Corim(id="", tag_id="", triples=triples, profile=profile))
    name = f"{VENDOR}/{request.measurements.target or 'image'}/{hashlib.sha256(said).hexdigest()[:32]}"
    unsigned = rim.encode_corim(rim.Corim(id=name, tag_id=name, triples=triples, profile=profile))
    if request.options.key is None:
        return unsigned
    key = read_signing_key(request.options.key)
    meta = dumps({0: {0: VENDOR}})
    protected = dumps(
        {
            ALG: _ALGORITHMS[key.kind],
            CONTENT_TYPE: rim.MEDIA_TYPE,
            KID: bytes.fromhex(key.public.id),
            _META: meta,
        }
    )
    signature = key.sign(to_be_signed(protected, unsigned))
    return encode_sign1(Sign1(protected=protected, payload=unsigned, signature=signature))


def read_manifest(data: bytes, what: str) -> rim.Corim:
    """Read a manifest, signed or not; a signature is not checked here.

    Raises:
        FormatError: PVB607, it is none.
        Lacking: PVB658, ``cbor2`` is not installed.
    """
    bounded(data, what)
    try:
        payload = decode_sign1(data).payload if _is_signed(data) else data
        return rim.decode_corim(payload)
    except FormatError as error:
        raise wrong(f"{what}: {error.what}") from error


def _is_signed(data: bytes) -> bool:
    # tag 18 in one byte
    return data[:1] == b"\xd2"


def is_corim(data: bytes, parsed: object) -> bool:
    """Say whether bytes look like a CoRIM, signed or not, of any profile."""
    return parsed is None and (_is_signed(data) or data[:3] == b"\xd9\x01\xf5")


def _is_amd(data: bytes, parsed: object) -> bool:
    return is_corim(data, parsed) and AMD_PROFILE.encode("ascii") in data


FORMATS = (
    Format(
        name="corim-amd",
        title="a CoRIM of AMD's profile: SNP launch digests; a COSE_Sign1 where `--key` is given",
        file="corim-amd.cbor",
        media=rim.MEDIA_TYPE,
        encode=corim_amd,
        decode=read_corim_amd,
        recognise=_is_amd,
        heeds=frozenset({"boot", "key", "product"}),
        check=check_corim,
    ),
    Format(
        name="corim",
        title="a CoRIM of all registers, as Trustee's extractor reads it; a COSE_Sign1 where `--key` is given",
        file="corim.cbor",
        media=rim.MEDIA_TYPE,
        encode=corim,
        decode=read_corim,
        recognise=is_corim,
        heeds=frozenset({"boot", "key", "evidence"}),
        check=check_corim,
    ),
)
