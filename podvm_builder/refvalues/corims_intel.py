"""Registers of a TD as a CoRIM of Intel's profile (draft-cds-rats-intel-corim-profile-05).

Of the profile, this is its identifier. It has environments for the TDX module and the quoting enclave, and none for a
TD; the class here, Intel as the vendor and "TDX TD" as the model, is ours by the pattern of its "TDX SEAM", without
a class id. MRTD and RTMRs are integrity registers of the core draft (draft-ietf-rats-corim-11, key 14 of a
measurement's values), by names that are ours. No consumer is known that reads this environment.

All registers stand in one triple: a verifier that takes any of several triples would otherwise take a machine whose
firmware alone is right. For the same reason a register with several values is refused. A list of digests would not do:
in it, each is of another algorithm.
"""

from __future__ import annotations

from podvm_builder.formats import corim as rim
from podvm_builder.model.measurement import Measurement
from podvm_builder.refvalues.corims import check_corim, finish, is_corim, read_manifest
from podvm_builder.refvalues.registers import RegisterValue, flat, only_boot, register_rows, single_values
from podvm_builder.refvalues.registry import ExportRequest, FlatMap, Format, wrong

PROFILE = rim.Oid((2, 16, 840, 1, 113741, 1, 16, 1))
ENVIRONMENT = rim.Environment(vendor="Intel Corporation", model="TDX TD")
REGISTERS = ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3")
"""Names of the integrity registers."""

_ALG = "sha384"
_OURS = "tdx."


def corim_intel(request: ExportRequest) -> bytes:
    """Return a manifest of one triple with all registers of a TD that have a value.

    Raises:
        InputError: PVB662, a register has several values.
        Lacking: PVB658, ``cbor2`` is not installed.
        Finding: as for every form.
    """
    of_boot = only_boot(request)

    def wanted(row: Measurement) -> bool:
        return row.register in {_OURS + name for name in REGISTERS} and row.alg == _ALG and of_boot(row)

    found = single_values(register_rows(request, wanted))
    registers = tuple(
        (name, ((_ALG, found[_OURS + name, _ALG]),)) for name in REGISTERS if (_OURS + name, _ALG) in found
    )
    triple = rim.ReferenceTriple(environment=ENVIRONMENT, measurements=(rim.CorimMeasurement(registers=registers),))
    return finish(request, (triple,), PROFILE)


def read_corim_intel(data: bytes) -> FlatMap:
    """Read such a manifest, signed or not; a signature is not checked here.

    Raises:
        FormatError: it is not this form (PVB607).
        Lacking: PVB658, ``cbor2`` is not installed.
    """
    found = read_manifest(data, "corim-intel")
    if found.profile != PROFILE:
        raise wrong(f"corim-intel: the profile is not `{PROFILE}`")
    if len(found.triples) != 1 or found.triples[0].environment != ENVIRONMENT:
        raise wrong("corim-intel: not one triple, or its environment is not that of a TD")
    if len(found.triples[0].measurements) != 1:
        raise wrong("corim-intel: not one measurement")
    (one,) = found.triples[0].measurements
    if one.key is not None or one.digests:
        raise wrong("corim-intel: more than integrity registers")
    return flat(_register(name, digests) for name, digests in one.registers)


def _register(name: str, digests: rim.Digests) -> RegisterValue:
    if name not in REGISTERS or [alg for alg, _ in digests] != [_ALG]:
        raise wrong(f"corim-intel: `{name}` is not a register of a TD with one digest of SHA-384")
    return RegisterValue(register=_OURS + name, alg=_ALG, values=(digests[0][1],))


def _is_intel(data: bytes, parsed: object) -> bool:
    return is_corim(data, parsed) and PROFILE.encode() in data


FORMATS = (
    Format(
        name="corim-intel",
        title="a CoRIM of Intel's profile: MRTD and RTMRs of a TD; a COSE_Sign1 where `--key` is given",
        file="corim-intel.cbor",
        media=rim.MEDIA_TYPE,
        encode=corim_intel,
        decode=read_corim_intel,
        recognise=_is_intel,
        heeds=frozenset({"boot", "key"}),
        check=check_corim,
    ),
)
