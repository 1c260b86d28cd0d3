"""Trustee's default CPU policy, as a model: what a machine's claims are worth with given reference values.

Written from the description of ``ear_default_policy_cpu.rego`` at Trustee 0.20 and 0.21, for the trust vector's
parts that reference values decide. It is strict about JSON types exactly as Rego is: ``in`` holds for arrays only,
``==`` for scalars of the same type only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Claims = Mapping[str, Any]
Values = Mapping[str, Any]

NOT_RECOGNISED = {"executables": 33, "hardware": 97, "configuration": 36}


def _in(claim: Any, name: str, values: Values) -> bool:
    allowed = values.get(name)
    return isinstance(allowed, list) and any(type(one) is type(claim) and one == claim for one in allowed)


def _equal(claim: Any, name: str, values: Values) -> bool:
    return name in values and type(values[name]) is type(claim) and bool(values[name] == claim)


def _snp(claims: Claims, values: Values) -> dict[str, int]:
    vector = dict(NOT_RECOGNISED)
    if _in(claims["measurement"], "snp_launch_measurement", values):
        vector["executables"] = 3
    tcb = {"bootloader": "snp_bootloader", "microcode": "snp_microcode", "snp": "snp_snp_svn", "tee": "snp_tee_svn"}
    if all(_in(claims[f"reported_tcb_{part}"], name, values) for part, name in tcb.items()):
        vector["hardware"] = 2
    if not claims["policy_debug_allowed"] and not claims["policy_migrate_ma"]:
        exact = {
            "platform_smt_enabled": "snp_smt_enabled",
            "platform_tsme_enabled": "snp_tsme_enabled",
            "policy_abi_major": "snp_guest_abi_major",
            "policy_abi_minor": "snp_guest_abi_minor",
            "policy_single_socket": "snp_single_socket",
            "policy_smt_allowed": "snp_smt_allowed",
        }
        vector["configuration"] = 2 if all(_equal(claims[c], n, values) for c, n in exact.items()) else 3
    return vector


def _tdx_hardware(claims: Claims, values: Values) -> bool:
    return claims["tcb_status"] == "UpToDate" and _in(claims["quote"]["body"]["mr_td"], "mr_td", values)


def _tdx(claims: Claims, values: Values) -> dict[str, int]:
    vector = dict(NOT_RECOGNISED)
    body = claims["quote"]["body"]
    if _in(body["rtmr_1"], "rtmr_1", values) and _in(body["rtmr_2"], "rtmr_2", values):
        # 3 asks for the digests of a direct kernel boot as well, which no UKI has; 4 is affirming too
        vector["executables"] = 4
    if _tdx_hardware(claims, values):
        vector["hardware"] = 2
    if not claims["td_attributes"]["debug"] and _in(body["xfam"], "xfam", values):
        vector["configuration"] = 2
    return vector


def _az_snp(claims: Claims, values: Values) -> dict[str, int]:
    vector = dict(NOT_RECOGNISED)
    if _in(claims["measurement"], "measurement", values) and _in(claims["tpm"]["pcr11"], "snp_pcr11", values):
        vector["executables"] = 3
    return vector


def _az_tdx(claims: Claims, values: Values) -> dict[str, int]:
    vector = dict(NOT_RECOGNISED)
    if _in(claims["tpm"]["pcr11"], "tdx_pcr11", values):
        vector["executables"] = 3
    if _tdx_hardware(claims, values):
        vector["hardware"] = 2
    return vector


def _tpm(claims: Claims, values: Values) -> dict[str, int]:
    known = _in(claims["pcr11"], "tpm_pcr11", values) and _in(claims["ak_public"], "trusted_aks", values)
    return {"executables": 3 if known else 33, "hardware": 2, "configuration": 0}


_POLICY = {"snp": _snp, "tdx": _tdx, "az-snp-vtpm": _az_snp, "az-tdx-vtpm": _az_tdx, "tpm": _tpm}


def trust_vector(evidence: str, claims: Claims, values: Values) -> dict[str, int]:
    """Return ``executables``, ``hardware`` and ``configuration`` for the claims of one kind of evidence."""
    return _POLICY[evidence](claims, values)
