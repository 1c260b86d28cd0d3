"""Claims as Trustee's verifiers give them, of a machine that is as predicted.

The shapes are the verifiers', not the policies': which keys, in which JSON type, by version. What is not known of a
machine is there with a value that no reference value equals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from podvm_builder.model.fact import Facts
from podvm_builder.refvalues.encoding import encode, encode_digest
from podvm_builder.refvalues.facts import fact_values
from podvm_builder.refvalues.rules import Encoding
from podvm_builder.refvalues.versions import FIRST, LAST, Version

Claims = Mapping[str, Any]
"""What stands below the evidence's key in a policy's ``input``."""
Registers = Mapping[tuple[str, str], bytes]
"""A machine's registers by name and algorithm; an empty algorithm stands for any."""

UNKNOWN = "(not known)"
"""A claim of which nothing is known; it is no digest, number or truth value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """One claim: where it stands, what decides it and how the verifier writes it."""

    path: str
    encoding: Encoding = Encoding.HEX
    register: str = ""
    alg: str = ""
    fact: str = ""
    constant: Any = None
    since: Version = FIRST
    until: Version = LAST


def _digest(path: str, register: str, alg: str, fact: str = "", encoding: Encoding = Encoding.HEX) -> _Claim:
    return _Claim(path=path, register=register, alg=alg, fact=fact, encoding=encoding)


def _pcrs(prefix: str) -> tuple[_Claim, ...]:
    return tuple(
        _digest(f"{prefix}pcr{n:02d}", f"tpm.pcr{n:02d}", "sha256", f"tpm_pcr{n:02d}" if n in {3, 8} else "")
        for n in range(24)
    )


def _snp(
    number: Encoding, boolean: Encoding, closed: str | bool, since: Version = FIRST, until: Version = LAST
) -> tuple[_Claim, ...]:
    """Return the claims of an SNP report but its measurement, in one verifier's types."""
    claims = (
        _Claim(path="reported_tcb_bootloader", encoding=number, fact="snp_bootloader"),
        _Claim(path="reported_tcb_microcode", encoding=number, fact="snp_microcode"),
        _Claim(path="reported_tcb_snp", encoding=number, fact="snp_firmware"),
        _Claim(path="reported_tcb_tee", encoding=number, fact="snp_tee"),
        _Claim(path="platform_smt_enabled", encoding=boolean, fact="snp_smt"),
        _Claim(path="platform_tsme_enabled", encoding=boolean, fact="snp_tsme"),
        _Claim(path="policy_abi_major", encoding=number, fact="abi_major"),
        _Claim(path="policy_abi_minor", encoding=number, fact="abi_minor"),
        _Claim(path="policy_single_socket", encoding=boolean, fact="single_socket"),
        _Claim(path="policy_smt_allowed", encoding=boolean, fact="smt_allowed"),
        _Claim(path="policy_debug_allowed", constant=closed),
        _Claim(path="policy_migrate_ma", constant=closed),
    )
    return tuple(replace(claim, since=since, until=until) for claim in claims)


def _launch(encoding: Encoding, since: Version = FIRST, until: Version = LAST) -> _Claim:
    digest = _digest("measurement", "snp.launch_digest", "sha384", "snp_launch_digest", encoding)
    return replace(digest, since=since, until=until)


_QUOTE = (
    _Claim(path="quote.header.tee_type", constant="81000000"),
    _Claim(path="quote.header.vendor_id", constant="939a7233f79c4ca9940a0db3957f0607"),
    _digest("quote.body.mr_td", "tdx.mrtd", "sha384", "tdx_mrtd"),
    _Claim(path="quote.body.mr_seam", fact="tdx_mrseam", encoding=Encoding.TEXT),
    _Claim(path="quote.body.tcb_svn", fact="tdx_tcb_svn", encoding=Encoding.TEXT),
    _Claim(path="quote.body.xfam", fact="tdx_xfam", encoding=Encoding.TEXT),
    _Claim(path="td_attributes.debug", constant=False),
    _Claim(path="tcb_status", fact="tdx_tcb_status", encoding=Encoding.TEXT, constant="UpToDate"),
    _Claim(path="collateral_expiration_status", constant="0"),
)
_SHAPES: Mapping[str, tuple[_Claim, ...]] = {
    "snp": (
        _launch(Encoding.BASE64, until=(0, 17)),
        _launch(Encoding.HEX, since=(0, 18)),
        *_snp(Encoding.DECIMAL, Encoding.BOOLEAN_TEXT, "false", until=(0, 13)),
        *_snp(Encoding.NUMBER, Encoding.BOOLEAN, closed=False, since=(0, 14)),
    ),
    "tdx": (
        *_QUOTE,
        _digest("quote.body.rtmr_1", "tdx.rtmr1", "sha384"),
        _digest("quote.body.rtmr_2", "tdx.rtmr2", "sha384"),
    ),
    "az-snp-vtpm": (
        _launch(Encoding.BASE64),
        *_snp(Encoding.DECIMAL, Encoding.BOOLEAN_TEXT, "false"),
        *_pcrs("tpm."),
    ),
    "az-tdx-vtpm": (*_QUOTE, *_pcrs("tpm.")),
    "tpm": (_Claim(path="ak_public", fact="tpm_ak", encoding=Encoding.TEXT), *_pcrs("")),
    "se": (
        _digest("tag", "se.tag", ""),
        _digest("image_phkh", "se.image_phkh", ""),
        _Claim(path="version", constant=1),
    ),
    "cca": (
        _digest("realm.cca-realm-initial-measurement", "cca.rim", "", encoding=Encoding.BASE64),
        *(
            _digest(f"realm.cca-realm-extensible-measurements.{n}", f"cca.rem{n}", "", encoding=Encoding.BASE64)
            for n in range(4)
        ),
        _Claim(path="platform.cca-platform-implementation-id", fact="cca_implementation", encoding=Encoding.TEXT),
    ),
    "sample": (
        _Claim(path="launch_digest", fact="sample_launch_digest", encoding=Encoding.TEXT),
        _Claim(path="svn", fact="sample_svn", encoding=Encoding.NUMBER),
        _Claim(path="platform_version.major", fact="sample_major", encoding=Encoding.NUMBER),
        _Claim(path="platform_version.minor", fact="sample_minor", encoding=Encoding.NUMBER),
        _Claim(path="debug", constant=False),
    ),
}
_LISTS = {"cca-realm-extensible-measurements": 4}


def expected_claims(evidence: str, version: Version, registers: Registers, facts: Facts) -> dict[str, Any]:
    """Return the claims of a machine with these registers and, of each fact, its first value.

    Args:
        evidence: one of :data:`podvm_builder.refvalues.policies.KINDS`.
        version: Trustee's.
        registers: what the machine's registers hold.
        facts: of the machine. A TCB status that is not said is taken to be `UpToDate`.
    """
    found: dict[str, Any] = {}
    for one in _SHAPES[evidence]:
        if one.since <= version <= one.until:
            _put(found, one.path, _value(one, registers, facts))
    return found


def _value(one: _Claim, registers: Registers, facts: Facts) -> Any:
    digest = registers.get((one.register, one.alg)) if one.register else None
    if digest is not None:
        return encode_digest(one.encoding, digest)
    said = fact_values(facts, one.fact) if one.fact else ()
    if not said:
        return UNKNOWN if one.constant is None else one.constant
    if one.register:
        return encode_digest(one.encoding, bytes.fromhex(str(said[0])))
    return encode(one.encoding, said[0])


def _put(found: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    at: Any = found
    for key in parents:
        at = at.setdefault(key, [UNKNOWN] * _LISTS[key] if key in _LISTS else {})
    at[int(last) if isinstance(at, list) else last] = value
