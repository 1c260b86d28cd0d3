"""What a policy will say of a machine, told before there is one."""

from __future__ import annotations

from typing import Any

import pytest

from podvm_builder.model.measurement import MeasurementSet, Status
from podvm_builder.refvalues import FORMATS, export
from podvm_builder.refvalues.appraise import appraise, status, tier
from podvm_builder.refvalues.check import expect
from podvm_builder.refvalues.policies import POLICIES
from podvm_builder.refvalues.rules import Check, Encoding, Op, Policy, Rule
from podvm_builder.refvalues.versions import VERSIONS, Version, show
from podvm_builder.report.refvalues_check import expectation_json, expectation_lines
from tests.support import verifier_claims as shaped
from tests.support.default_policy import trust_vector
from tests.support.measurement_sets import (
    FIRMWARE,
    PCRS,
    cca_set,
    measurement_set,
    pcr_set,
    predicted,
    request,
    se_set,
    snp_set,
    tdx_set,
    unknown,
)

SETS = [snp_set(), tdx_set(), pcr_set("az-snp-vtpm"), pcr_set("az-tdx-vtpm"), pcr_set("tpm")]
SINCE: dict[str, Version] = {"snp": (0, 12), "tdx": (0, 12), "tpm": (0, 16)}


def best(measurements: MeasurementSet, version: Version) -> dict[str, int]:
    """Return the parts that the description of Trustee promises a machine of whose facts everything is known."""
    match measurements.evidence:
        case "snp":
            return {
                "executables": 33 if version < (0, 13) else 3,
                "hardware": 2,
                "configuration": 36 if version < (0, 14) else 2,
            }
        case "tdx":
            return {"executables": 3 if version < (0, 14) else 4, "hardware": 2, "configuration": 2}
        case "tpm":
            return {"executables": 3, "hardware": 2, "configuration": 0}
        case _:
            return {"executables": 3, "hardware": 2, "configuration": 2}


@pytest.mark.parametrize(
    ("measurements", "version"),
    [
        pytest.param(one, version, id=f"{one.evidence}-{show(version)}")
        for one in SETS
        for version in VERSIONS
        if version >= SINCE.get(one.evidence, (0, 20))
    ],
)
def test_the_best_that_each_version_gives(measurements: MeasurementSet, version: Version) -> None:
    found = expect(request(measurements, trustee=show(version), facts=shaped.FACTS))
    assert best(measurements, version).items() <= found.vector.items()
    assert bool(found.missing) == (found.status == "warning")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("measurements", SETS, ids=lambda one: one.evidence)
def test_claims_are_shaped_as_the_verifiers(measurements: MeasurementSet, policy: str) -> None:
    """Every claim that is expected stands in what the verifier gives, at the same place and of the same type."""
    full: dict[str, Any] = {
        "snp": shaped.snp(bytes(48)),
        "tdx": shaped.quote(bytes(48)),
        "az-snp-vtpm": shaped.az_snp({}),
        "az-tdx-vtpm": shaped.az_tdx({}),
        "tpm": shaped.tpm({}),
    }[measurements.evidence]

    def inside(expected: Any, given: Any) -> bool:
        if isinstance(expected, dict):
            return isinstance(given, dict) and all(
                key in given and inside(value, given[key]) for key, value in expected.items()
            )
        return type(expected) is type(given) and len(str(expected)) >= 1

    assert inside(expect(request(measurements, facts=shaped.FACTS, policy=policy)).claims, full)


@pytest.mark.parametrize("measurements", SETS, ids=lambda one: one.evidence)
def test_the_vector_is_that_of_another_model_of_the_policy(measurements: MeasurementSet) -> None:
    for facts in ({}, shaped.FACTS):
        found = expect(request(measurements, facts=facts))
        decode = FORMATS["rvps-sample"].decode
        assert decode is not None
        document = export(request(measurements, facts=facts), "rvps-sample")
        assert isinstance(document, bytes)
        other = trust_vector(measurements.evidence, found.claims, decode(document))
        parts = ("executables", "hardware") if measurements.evidence.startswith("az-") else tuple(other)
        if measurements.evidence == "az-snp-vtpm":
            parts = ("executables",)
        assert {part: found.vector[part] for part in parts} == {part: other[part] for part in parts}


def test_what_is_missing_is_named_with_what_mends_it() -> None:
    found = expect(request(snp_set()))
    assert (found.status, found.good) == ("contraindicated", False)
    assert {(one.part, one.name, one.fact) for one in found.missing} >= {
        ("hardware", "snp_snp_svn", "snp_firmware"),
        ("configuration", "snp_guest_abi_minor", "snp_guest_policy"),
    }
    text = "\n".join(expectation_lines(found))
    assert "  hardware       97  contraindicated: not recognised\n" in text
    assert "missing: snp_snp_svn: no image decides it: say the fact, or register it (--fact snp_firmware=…)" in text
    assert "not registered: snp_launch_measurement: `snp.launch_digest` of boot `disk` is not registered" in text


def test_any_image_passes_is_said() -> None:
    alone = predicted("snp.launch_digest", b"\x0c" * 48, FIRMWARE)
    found = expect(request(measurement_set("snp", alone, reason="firmware only"), facts=shaped.FACTS))
    assert found.vector["executables"] == 3
    assert (found.status, found.any_image_passes, found.good) == ("affirming", True, False)
    lines = expectation_lines(found)
    assert "any image passes" in lines
    assert "identifies the image: no" in lines
    assert expectation_json(found)["any_image_passes"] is True


def test_a_register_that_nobody_knows_leaves_the_image_unrecognised() -> None:
    row = unknown("tpm.pcr11", Status.UNPREDICTABLE, "a reason", alg="sha256")
    found = expect(request(measurement_set("tpm", row), facts=shaped.FACTS))
    assert found.vector["executables"] == 33
    assert any(one.name == "tpm_pcr11" and "a reason" in one.reason for one in found.missing)
    assert found.any_image_passes


def test_what_an_export_will_ask_for_is_said() -> None:
    found = expect(request(snp_set(flags=("selftest", "debug")), allow=frozenset({"debug"})))
    assert found.refused_without == ("selftest",)


@pytest.mark.parametrize("measurements", [se_set(), cca_set()], ids=lambda one: one.evidence)
def test_evidence_that_the_default_policy_does_not_compare(measurements: MeasurementSet) -> None:
    default = expect(request(measurements))
    assert default.any_image_passes
    assert default.status == ("affirming" if measurements.evidence == "se" else "contraindicated")
    extended = expect(request(measurements, policy="extended", facts=shaped.FACTS))
    assert (extended.status, extended.any_image_passes) == ("affirming", False)


def test_the_policy_of_the_operator_wants_pcrs_that_pods_and_clouds_decide() -> None:
    found = expect(request(pcr_set("az-tdx-vtpm"), policy="operator"))
    assert {one.name for one in found.missing} == {"tdx_pcr03", "tdx_pcr08"}
    told = {"tpm_pcr03": ("33" * 32,), "tpm_pcr08": ("88" * 32,)}
    found = expect(request(pcr_set("az-tdx-vtpm"), policy="operator", facts=told))
    assert (found.status, found.missing) == ("affirming", ())
    assert any("does not compare PCR 4" in text for text in found.values.cautions)
    claims = shaped.az_tdx({**PCRS, 3: b"\x33" * 32, 8: b"\x88" * 32})
    values = {one.name: list(one.value) for one in found.values.values if isinstance(one.value, tuple)}
    rules = request(pcr_set("az-tdx-vtpm"), policy="operator").rules()
    assert appraise(rules, claims, values)["executables"] == 3
    assert appraise(rules, {**claims, "tpm": {**claims["tpm"], "pcr09": "00" * 32}}, values)["executables"] == 33


def test_the_sample_attester_never_identifies_an_image() -> None:
    facts = {
        "sample_launch_digest": ("abcde",),
        "sample_svn": (1,),
        "sample_major": (1,),
        "sample_minor": (3,),
    }
    found = expect(request(snp_set(), evidence="sample", facts=facts))
    assert (found.status, found.any_image_passes) == ("affirming", True)
    rules = request(snp_set(), evidence="sample").rules()
    claims = {"launch_digest": "abcde", "svn": 1, "platform_version": {"major": 1, "minor": 4}, "debug": False}
    values = {"launch_digest": ["abcde"], "svn": [1], "major_version": 1, "minimum_minor_version": 3}
    assert appraise(rules, claims, values)["hardware"] == 2
    claims["platform_version"] = {"major": 1, "minor": 2}
    assert appraise(rules, claims, values)["hardware"] == 97


def test_types_are_compared_as_rego_compares_them() -> None:
    rules = Policy(
        evidence="t",
        rules=(
            Rule(
                part="executables",
                value=3,
                checks=(Check(claim="a", op=Op.EQUAL, name="n", encoding=Encoding.NUMBER),),
            ),
        ),
    )
    assert appraise(rules, {"a": 1}, {"n": 1})["executables"] == 3
    for claim, value in ((1, True), (1, "1"), (1, [1]), (True, 1), (None, 1), (1, None)):
        assert appraise(rules, {"a": claim}, {"n": value})["executables"] == 33


@pytest.mark.parametrize(
    ("value", "name"),
    [(0, "none"), (2, "affirming"), (31, "affirming"), (32, "warning"), (95, "warning"), (96, "contraindicated")],
)
def test_tiers(value: int, name: str) -> None:
    assert tier(value) == name
    assert status({"a": 0, "b": value}) == name
