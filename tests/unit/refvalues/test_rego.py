"""Exported policies, run by a real Rego engine over claims as each verifier shapes them."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podvm_builder.errors import FormatError, InputError
from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.refvalues import ExportOptions, export, flat_map, read_any
from podvm_builder.refvalues.appraise import appraise
from podvm_builder.refvalues.rego import read_rego, render
from podvm_builder.refvalues.rules import UNRECOGNISED
from podvm_builder.refvalues.versions import VERSIONS, Version, show
from tests.support import verifier_claims as shaped
from tests.support.measurement_sets import PCRS, cca_set, pcr_set, request, se_set, snp_set, tdx_set
from tests.support.rego import Engine

Claims = dict[str, Any]
Path = tuple[str | int, ...]

_PCR_PATHS: tuple[Path, ...] = tuple((f"pcr{index:02d}",) for index in PCRS)
_TPM_PATHS: tuple[Path, ...] = tuple(("tpm", *path) for path in _PCR_PATHS)
_TCB = tuple((f"reported_tcb_{part}",) for part in shaped.SNP_TCB)

# evidence, measurements, claims of a machine of the image, its vector (executables, hardware, configuration), and the
# claims that must be as they are for each part
CASES: list[tuple[str, MeasurementSet, Claims, tuple[int, int, int], dict[str, tuple[Path, ...]]]] = [
    (
        "snp",
        snp_set(),
        shaped.snp(b"\x0b" * 48),
        (3, 2, 2),
        {
            "executables": (("measurement",),),
            "hardware": _TCB,
            "configuration": (("policy_debug_allowed",), ("policy_migrate_ma",)),
        },
    ),
    (
        "tdx",
        tdx_set(),
        shaped.quote(b"\x01" * 48, (bytes(48), b"\x02" * 48, b"\x03" * 48, bytes(48))),
        (4, 2, 2),
        {
            "executables": (("quote", "body", "rtmr_1"), ("quote", "body", "rtmr_2")),
            "hardware": (
                ("quote", "body", "mr_td"),
                ("quote", "header", "tee_type"),
                ("quote", "header", "vendor_id"),
                ("tcb_status",),
                ("collateral_expiration_status",),
            ),
            "configuration": (("td_attributes", "debug"),),
        },
    ),
    (
        "az-snp-vtpm",
        pcr_set("az-snp-vtpm"),
        shaped.az_snp(PCRS),
        (3, 2, 2),
        {
            "executables": _TPM_PATHS,
            "hardware": (("measurement",), *_TCB),
            "configuration": (("policy_debug_allowed",), ("policy_migrate_ma",)),
        },
    ),
    (
        "az-tdx-vtpm",
        pcr_set("az-tdx-vtpm"),
        shaped.az_tdx(PCRS),
        (3, 2, 2),
        {
            "executables": _TPM_PATHS,
            "hardware": (("quote", "body", "mr_td"), ("tcb_status",)),
            "configuration": (("td_attributes", "debug"),),
        },
    ),
    ("tpm", pcr_set("tpm"), shaped.tpm(PCRS), (3, 2, 0), {"executables": (*_PCR_PATHS, ("ak_public",))}),
    (
        "se",
        se_set(),
        shaped.se(b"\x5e" * 16, b"\x5f" * 32),
        (3, 2, 2),
        {"executables": (("tag",),), "hardware": (("image_phkh",),)},
    ),
    (
        "cca",
        cca_set(),
        shaped.cca(b"\xca" * 32, (b"\xcb" * 32, bytes(32), bytes(32), bytes(32))),
        (3, 2, 0),
        {
            "executables": (
                ("realm", "cca-realm-initial-measurement"),
                ("realm", "cca-realm-extensible-measurements", 0),
            ),
            "hardware": (("platform", "cca-platform-implementation-id"),),
        },
    ),
]
PINNED = [
    pytest.param(case, part, path, id=f"{case[0]}-{path[-1]}")
    for case in CASES
    for part, paths in case[4].items()
    for path in paths
]


def engine(measurements: MeasurementSet, *, use_rvps: bool, trustee: str = "0.21", **changes: Any) -> Engine:
    asked = request(
        measurements,
        trustee=trustee,
        facts=shaped.FACTS | changes.pop("facts", {}),
        options=ExportOptions(use_rvps=use_rvps),
        **changes,
    )
    document = export(asked, "rego")
    assert isinstance(document, bytes)
    return Engine(document.decode(), flat_map(asked.values("extended")) if use_rvps else {})


@cache
def compiled(evidence: str, use_rvps: bool) -> Engine:
    return engine(next(case[1] for case in CASES if case[0] == evidence), use_rvps=use_rvps)


def vector(found: dict[str, int]) -> tuple[int, int, int]:
    return found["executables"], found["hardware"], found["configuration"]


def replaced(claims: Claims, path: Path, change: Callable[[Any], Any]) -> Claims:
    other = copy.deepcopy(claims)
    at: Any = other
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = change(at[path[-1]])
    return other


@pytest.mark.parametrize("use_rvps", [False, True], ids=["literals", "rvps"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_a_machine_of_the_image_is_affirmed(case: Any, use_rvps: bool) -> None:
    evidence, measurements, claims, good, _ = case
    found = engine(measurements, use_rvps=use_rvps).trust_claims(evidence, claims)
    assert vector(found) == good
    assert set(found) == set(appraise(request(measurements).rules("extended"), claims, {}))
    assert all(found[part] == 0 for part in found.keys() - {"executables", "hardware", "configuration"})


@pytest.mark.parametrize("use_rvps", [False, True], ids=["literals", "rvps"])
@pytest.mark.parametrize(("case", "part", "path"), PINNED)
@settings(max_examples=20)
@given(data=st.data())
def test_any_change_of_a_compared_claim_is_refused(
    case: Any, part: str, path: Path, use_rvps: bool, data: st.DataObject
) -> None:
    evidence, _, claims, _, _ = case

    def change(value: Any) -> Any:
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return data.draw(st.integers(0, 255).filter(lambda one: one != value))
        at = data.draw(st.integers(0, len(value) - 1))
        other = data.draw(st.sampled_from("0123456789abcdef").filter(lambda one: one != value[at]))
        return data.draw(st.sampled_from([value[:at] + other + value[at + 1 :], value + other, value[:-1], "", None]))

    found = compiled(evidence, use_rvps).trust_claims(evidence, replaced(claims, path, change))
    assert found[part] == UNRECOGNISED[part]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_other_evidence_and_missing_claims_are_refused(case: Any) -> None:
    evidence, measurements, claims, _, pinned = case
    policy = engine(measurements, use_rvps=False)
    assert vector(policy.trust_claims("sgx", claims)) == tuple(UNRECOGNISED.values())
    empty = policy.trust_claims(evidence, {})
    assert all(empty[part] == UNRECOGNISED[part] for part in pinned)


@pytest.mark.parametrize("use_rvps", [False, True], ids=["literals", "rvps"])
@pytest.mark.parametrize("evidence", ["az-snp-vtpm", "az-tdx-vtpm", "tpm"])
@pytest.mark.parametrize("index", [7, 9, 12])
def test_a_pcr_that_cannot_be_predicted_is_not_compared(evidence: str, index: int, use_rvps: bool) -> None:
    """PCR 9 of an image with a boot secret, for one; and PCR 12 need not be zero: it is what was predicted."""
    shape: Callable[[dict[int, bytes]], Claims] = {
        "az-snp-vtpm": shaped.az_snp,
        "az-tdx-vtpm": shaped.az_tdx,
        "tpm": shaped.tpm,
    }[evidence]
    policy = engine(pcr_set(evidence, without=(index,)), use_rvps=use_rvps, allow=frozenset({"unbound-image"}))
    assert policy.trust_claims(evidence, shape({**PCRS, index: b"\xee" * 32}))["executables"] == 3
    for other in PCRS.keys() - {index}:
        assert policy.trust_claims(evidence, shape({**PCRS, other: b"\xee" * 32}))["executables"] == 33


def test_without_facts_nothing_is_guessed() -> None:
    document = export(request(snp_set()), "rego")
    assert isinstance(document, bytes)
    found = Engine(document.decode(), {}).trust_claims("snp", shaped.snp(b"\x0a" * 48))
    assert vector(found) == (3, 97, 3)
    assert b"`hardware` stays 97: snp_bootloader, snp_microcode, snp_snp_svn, snp_tee_svn not known" in document


def test_a_firmware_alone_is_not_recognised() -> None:
    found = engine(snp_set(), use_rvps=False).trust_claims("snp", shaped.snp(b"\xff" * 48))
    assert found["executables"] == 33


def test_a_tcb_status_that_is_said_takes_the_place_of_up_to_date() -> None:
    claims = shaped.quote(b"\x01" * 48, (bytes(48), b"\x02" * 48, b"\x03" * 48, bytes(48)))
    policy = engine(tdx_set(), use_rvps=False, facts={"tdx_tcb_status": ("UpToDate", "SWHardeningNeeded")})
    assert policy.trust_claims("tdx", {**claims, "tcb_status": "SWHardeningNeeded"})["hardware"] == 2
    assert policy.trust_claims("tdx", {**claims, "tcb_status": "OutOfDate"})["hardware"] == 97


@pytest.mark.parametrize("version", VERSIONS, ids=show)
@pytest.mark.parametrize("use_rvps", [False, True], ids=["literals", "rvps"])
def test_each_version_asks_and_encodes_in_its_own_way(version: Version, use_rvps: bool) -> None:
    policy = engine(snp_set(), use_rvps=use_rvps, trustee=show(version))
    found = policy.trust_claims("snp", shaped.snp(b"\x0a" * 48, version))
    assert vector(found) == (3, 2, 2)


@pytest.mark.parametrize("use_rvps", [False, True], ids=["literals", "rvps"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_a_policy_is_read_back(case: Any, use_rvps: bool) -> None:
    asked = request(case[1], facts=shaped.FACTS, options=ExportOptions(use_rvps=use_rvps))
    document = export(asked, "rego")
    assert isinstance(document, bytes)
    form, found = read_any(document)
    values = flat_map(asked.values("extended"))
    assert form == "rego"
    if use_rvps:
        assert found == dict.fromkeys(found)
        assert set(values) <= set(found)
    else:
        assert found == {name: value if isinstance(value, list) else [value] for name, value in values.items()}


@pytest.mark.parametrize("text", ["", "package other\n", "package policy\naccepted := {\n1\n}\n", "\xff"])
def test_what_is_no_policy_of_ours_is_refused(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_rego(text.encode("latin-1"))
    assert caught.value.code == "PVB607"


def test_what_names_say_stays_in_comments() -> None:
    hostile = snp_set()
    object.__setattr__(hostile, "target", "a\nexecutables := 3\r\u2028x")
    document = export(request(hostile), "rego")
    assert isinstance(document, bytes)
    assert not re.search(r"^executables := 3$", document.decode(), re.MULTILINE)
    found = Engine(document.decode(), {}).trust_claims("snp", shaped.snp(b"\xff" * 48))
    assert found["executables"] == 33


DEFAULTS = [("snp", (0, 12)), ("tdx", (0, 12)), ("tpm", (0, 16)), ("az-snp-vtpm", (0, 20)), ("az-tdx-vtpm", (0, 20))]


@pytest.mark.parametrize(("evidence", "since"), DEFAULTS, ids=[one[0] for one in DEFAULTS])
@settings(max_examples=50)
@given(data=st.data())
def test_the_model_of_the_default_policy_agrees_with_the_engine(
    evidence: str, since: Version, data: st.DataObject
) -> None:
    """Our interpreter of rules and a Rego engine give the same vector, whatever is changed, left out or mistyped."""
    _, measurements, claims, _, _ = next(case for case in CASES if case[0] == evidence)
    version = data.draw(st.sampled_from([one for one in VERSIONS if one >= since]))
    if evidence == "snp":
        claims = shaped.snp(b"\x0a" * 48, version)
    asked = request(measurements, trustee=show(version), facts=shaped.FACTS)
    values = flat_map(asked.values())
    for name in data.draw(st.lists(st.sampled_from(sorted(values)), max_size=2, unique=True)):
        value = values[name]
        wrapped = value[0] if isinstance(value, list) else [value]
        values[name] = data.draw(st.sampled_from([None, wrapped, [], str(value), True, 1]))
    for key in data.draw(st.lists(st.sampled_from(sorted(claims)), max_size=2, unique=True)):
        claims = {**claims, key: data.draw(st.sampled_from([None, "", 0, False, "false", [], {}]))}
    policy = render(asked.rules(), asked.values(), version, use_rvps=True)
    assert Engine(policy, values).trust_claims(evidence, claims) == appraise(asked.rules(), claims, values)


def test_azure_before_its_evidence_was_read_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        export(request(pcr_set("az-snp-vtpm"), trustee="0.19"), "rego")
    assert caught.value.code == "PVB603"


def test_equal_requests_give_equal_bytes() -> None:
    one, other = (export(request(pcr_set("tpm"), facts=shaped.FACTS), "rego") for _ in range(2))
    assert one == other
    assert json.loads(re.findall(rb"^accepted := (\{.*?^\})$", one, re.MULTILINE | re.DOTALL)[0])  # type: ignore[arg-type]
