"""Exported values under a model of Trustee's default policy: the right machine is recognised, no other is."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.refvalues import FORMATS, export
from tests.support.default_policy import trust_vector
from tests.support.measurement_sets import request, snp_set, tdx_set, vtpm_set

SNP: dict[str, Any] = {
    "measurement": "0b" * 48,
    "reported_tcb_bootloader": 4,
    "reported_tcb_microcode": 209,
    "reported_tcb_snp": 22,
    "reported_tcb_tee": 0,
    "policy_debug_allowed": False,
    "policy_migrate_ma": False,
    "platform_smt_enabled": True,
    "platform_tsme_enabled": False,
    "policy_abi_major": 0,
    "policy_abi_minor": 31,
    "policy_single_socket": False,
    "policy_smt_allowed": True,
}
TDX: dict[str, Any] = {
    "quote": {"body": {"mr_td": "01" * 48, "rtmr_1": "02" * 48, "rtmr_2": "03" * 48, "xfam": "e702060000000000"}},
    "tcb_status": "UpToDate",
    "td_attributes": {"debug": False},
}
AZ_SNP: dict[str, Any] = {"measurement": "+/" * 32, "tpm": {"pcr11": "11" * 32}}
AZ_TDX: dict[str, Any] = {**TDX, "tpm": {"pcr11": "11" * 32}}
TPM: dict[str, Any] = {"pcr11": "11" * 32, "ak_public": "AAAA"}

# evidence, measurements, claims of a machine of this image, what a platform's owner adds, the part it decides,
# its value when recognised, and the path of the claim that must be recognised
CASES = [
    ("snp", snp_set(), SNP, {}, "executables", 3, ("measurement",)),
    ("tdx", tdx_set(), TDX, {}, "executables", 4, ("quote", "body", "rtmr_1")),
    ("tdx", tdx_set(), TDX, {}, "executables", 4, ("quote", "body", "rtmr_2")),
    ("tdx", tdx_set(), TDX, {}, "hardware", 2, ("quote", "body", "mr_td")),
    ("az-snp-vtpm", vtpm_set("az-snp-vtpm"), AZ_SNP, {"measurement": ["+/" * 32]}, "executables", 3, ("tpm", "pcr11")),
    ("az-tdx-vtpm", vtpm_set("az-tdx-vtpm"), AZ_TDX, {}, "executables", 3, ("tpm", "pcr11")),
    ("tpm", vtpm_set("tpm"), TPM, {"trusted_aks": ["AAAA"]}, "executables", 3, ("pcr11",)),
]
IDS = [f"{case[0]}-{case[6][-1]}" for case in CASES]


def read(form: str, measurements: MeasurementSet) -> dict[str, Any]:
    document, decode = export(request(measurements), form), FORMATS[form].decode
    assert isinstance(document, bytes)
    assert decode is not None
    return decode(document)


def changed(claims: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    other = copy.deepcopy(claims)
    at = other
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = "f" + at[path[-1]][1:]
    return other


@pytest.mark.parametrize("form", ["rvps-sample", "rvps-message", "local-json", "operator-configmap"])
@pytest.mark.parametrize(("evidence", "measurements", "claims", "platform", "part", "good", "path"), CASES, ids=IDS)
def test_the_image_is_recognised_and_a_changed_digest_is_not(  # noqa: PLR0917 - one argument a column
    form: str,
    evidence: str,
    measurements: Any,
    claims: dict[str, Any],
    platform: dict[str, Any],
    part: str,
    good: int,
    path: tuple[str, ...],
) -> None:
    values = {**read(form, measurements), **platform}
    assert trust_vector(evidence, claims, values)[part] == good
    assert trust_vector(evidence, changed(claims, path), values)[part] > 32
    assert trust_vector(evidence, claims, {})[part] > 32


def test_a_firmware_only_launch_digest_is_not_recognised() -> None:
    values = read("rvps-sample", snp_set())
    assert trust_vector("snp", {**SNP, "measurement": "ff" * 48}, values)["executables"] == 33


def test_a_scalar_where_the_policy_wants_a_list_is_never_recognised() -> None:
    assert trust_vector("snp", SNP, {"snp_launch_measurement": "0b" * 48})["executables"] == 33
