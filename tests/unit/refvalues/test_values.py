"""Which registers become which reference values, and which never do."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from podvm_builder.errors import Finding, InputError
from podvm_builder.model.measurement import Measurement, MeasurementSet, Status
from podvm_builder.refvalues import flat_map, reference_values
from tests.support.measurement_sets import (
    FIRMWARE,
    measurement_set,
    predicted,
    snp_set,
    tdx_set,
    unknown,
    vtpm_set,
)


def test_snp_gives_a_list_of_lower_case_hex_of_the_bound_variants_only() -> None:
    values = reference_values(snp_set())
    assert flat_map(values) == {"snp_launch_measurement": ["0a" * 48, "0b" * 48]}
    assert values.identified_by == ("snp.launch_digest",)
    assert any("covers the firmware alone" in omission.reason for omission in values.omitted)


def test_tdx_gives_mrtd_and_the_two_rtmrs() -> None:
    values = reference_values(tdx_set())
    assert flat_map(values) == {"mr_td": ["01" * 48], "rtmr_1": ["02" * 48], "rtmr_2": ["03" * 48]}
    assert values.identified_by == ("tdx.rtmr1", "tdx.rtmr2")
    assert values.not_compared == ()


@pytest.mark.parametrize(
    ("evidence", "name"), [("az-snp-vtpm", "snp_pcr11"), ("az-tdx-vtpm", "tdx_pcr11"), ("tpm", "tpm_pcr11")]
)
def test_vtpm_gives_pcr_11_of_the_sha256_bank(evidence: str, name: str) -> None:
    values = reference_values(vtpm_set(evidence))
    assert flat_map(values) == {name: ["11" * 32]}
    assert values.identified_by == ("tpm.pcr11",)
    assert values.not_compared == ("tpm.pcr04", "tpm.pcr12")
    assert any("PCR 4" in caution for caution in values.cautions)


def test_a_learnt_launch_digest_on_azure_is_base64_as_that_verifier_sends_it() -> None:
    learnt = Measurement(register="snp.launch_digest", alg="sha384", status=Status.PLATFORM, value=b"\xfb" * 48)
    pcr11 = predicted("tpm.pcr11", b"\x11" * 32, alg="sha256")
    values = reference_values(measurement_set("az-snp-vtpm", learnt, pcr11, by=("tpm.pcr11",)))
    assert flat_map(values)["measurement"] == [base64.b64encode(b"\xfb" * 48).decode()]


def test_equal_values_of_several_variants_are_given_once_in_order() -> None:
    rows = [predicted("snp.launch_digest", bytes([n]) * 48, vcpus=i) for i, n in enumerate([2, 1, 2])]
    values = reference_values(measurement_set("snp", *rows, by=("snp.launch_digest",)))
    assert flat_map(values) == {"snp_launch_measurement": ["02" * 48, "01" * 48]}


@pytest.mark.parametrize("status", [Status.PLATFORM, Status.PER_VM, Status.UNPREDICTABLE, Status.NOT_COMPUTED])
def test_a_register_without_a_value_is_named_with_its_reason(status: Status) -> None:
    bound = predicted("tdx.rtmr1", b"\x02" * 48)
    values = reference_values(measurement_set("tdx", bound, unknown("tdx.mrtd", status, "why not"), by=("tdx.rtmr1",)))
    assert flat_map(values) == {"rtmr_1": ["02" * 48]}
    assert {"mr_td": f"{status.value}: why not"}.items() <= {o.name: o.reason for o in values.omitted}.items()


def unbound_set() -> MeasurementSet:
    return measurement_set("snp", predicted("snp.launch_digest", b"\x0c" * 48, FIRMWARE), reason="firmware only")


def test_values_that_any_image_reaches_need_leave() -> None:
    with pytest.raises(Finding) as caught:
        reference_values(unbound_set())
    assert caught.value.code == "PVB602"
    assert "--allow-unbound-image" in str(caught.value.hint)

    values = reference_values(unbound_set(), allow_unbound=True)
    assert flat_map(values) == {"snp_launch_measurement": ["0c" * 48]}
    assert values.identified_by == ()
    assert "any image passes: firmware only" in values.cautions


def test_a_set_said_to_identify_whose_digests_cover_the_firmware_alone_is_refused() -> None:
    row = predicted("snp.launch_digest", b"\x0c" * 48, FIRMWARE, boot="disk")
    with pytest.raises(Finding) as caught:
        reference_values(measurement_set("snp", row, by=("snp.launch_digest",)))
    assert caught.value.code == "PVB602"


def test_one_unbound_value_among_bound_ones_unties_the_image() -> None:
    values = reference_values(snp_set(), allow_unbound=True)
    assert "ff" * 48 in flat_map(values)["snp_launch_measurement"]
    assert values.identified_by == ()


def test_registers_that_identify_but_are_not_exported_do_not_count() -> None:
    digest = predicted("snp.launch_digest", b"\x0c" * 48, FIRMWARE)
    pcr4 = predicted("tpm.pcr04", b"\x04" * 32, alg="sha256")
    with pytest.raises(Finding) as caught:
        reference_values(measurement_set("snp", digest, pcr4, by=("tpm.pcr04",)))
    assert caught.value.code == "PVB602"


def test_nothing_to_export_says_why() -> None:
    row = unknown("snp.launch_digest", Status.PLATFORM, "the cloud's own firmware")
    with pytest.raises(Finding) as caught:
        reference_values(measurement_set("snp", row))
    assert caught.value.code == "PVB601"
    assert "the cloud's own firmware" in str(caught.value.hint)


def test_selftest_and_debug_are_cautioned() -> None:
    values = reference_values(snp_set(flags=("selftest", "debug")))
    assert [caution.split()[0] for caution in values.cautions] == ["the", "this"]


@pytest.mark.parametrize("version", ["0.12", "0.13", "0.18", "0.19", "0.20", "0.21", "v0.21.0"])
def test_versions_are_taken(version: str) -> None:
    assert flat_map(reference_values(snp_set(), trustee=version))["snp_launch_measurement"]


@pytest.mark.parametrize("version", ["0.11", "0.22", "1", "newest", "", "0.21-rc1", "\u0660.21"])
def test_other_versions_are_refused(version: str) -> None:
    with pytest.raises(InputError) as caught:
        reference_values(snp_set(), trustee=version)
    assert caught.value.code == "PVB603"


def test_azure_before_the_policy_could_read_it_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        reference_values(vtpm_set("az-snp-vtpm"), trustee="0.19")
    assert caught.value.code == "PVB603"


@pytest.mark.parametrize("evidence", ["none", "se", "", "SNP"])
def test_evidence_without_names_is_refused(evidence: str) -> None:
    with pytest.raises(InputError) as caught:
        reference_values(snp_set(), evidence=evidence)
    assert caught.value.code == "PVB604"


def test_the_evidence_can_be_said_where_the_measurements_do_not() -> None:
    bare = measurement_set("", predicted("snp.launch_digest", b"\x0a" * 48), by=("snp.launch_digest",))
    assert reference_values(bare, evidence="snp").evidence == "snp"


def test_boot_paths_that_the_profile_does_not_list_are_left_out() -> None:
    rows = (
        predicted("tpm.pcr11", b"\x0d" * 32, alg="sha256", boot="direct"),
        predicted("tpm.pcr11", b"\x0e" * 32, alg="sha256", boot="disk"),
    )
    found = measurement_set("tpm", *rows, by=("tpm.pcr11",))
    assert flat_map(reference_values(found))["tpm_pcr11"] == ["0d" * 32, "0e" * 32]
    assert flat_map(reference_values(replace(found, boots=("direct",))))["tpm_pcr11"] == ["0d" * 32]
