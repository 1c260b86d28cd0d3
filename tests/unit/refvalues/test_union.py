"""Several images in one export: each passes, and none that would not pass alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podvm_builder.errors import Finding, InputError
from podvm_builder.refvalues.records import flat_map
from podvm_builder.refvalues.union import union
from tests.support.measurement_sets import FIRMWARE, measurement_set, predicted, request, snp_set, tdx_set


def other_snp_set(boot: str = "direct"):  # type: ignore[no-untyped-def]
    return measurement_set(
        "snp",
        predicted("snp.launch_digest", b"\x0e" * 48, boot=boot),
        by=("snp.launch_digest",),
    )


def test_one_image_is_itself() -> None:
    one = snp_set()
    assert union([one]) is one


def test_the_values_of_both_are_there() -> None:
    joined = union([snp_set(), other_snp_set()])
    assert flat_map(request(joined).values()) == {"snp_launch_measurement": ["0a" * 48, "0b" * 48, "0e" * 48]}
    assert joined.target == "debian-13/snp/libvirt"


def test_flags_and_facts_of_each_count() -> None:
    joined = union(
        [
            replace(snp_set(flags=("debug",)), facts={"snp_microcode": (1,)}),
            replace(snp_set(flags=("selftest",)), facts={"snp_microcode": (2, 1), "snp_tee": (0,)}),
        ]
    )
    assert joined.flags == ("debug", "selftest")
    assert joined.facts == {"snp_microcode": (1, 2), "snp_tee": (0,)}


def test_a_boot_that_a_profile_does_not_list_stays_out_though_the_other_lists_it() -> None:
    disk_only = replace(other_snp_set(boot="disk"), boots=("disk",))
    direct_only = replace(snp_set(), boots=("direct",))
    joined = union([disk_only, direct_only])
    assert [row.variant.get("boot") for row in joined.measurements] == ["disk", "direct", "direct"]


def test_an_image_that_nothing_identifies_unties_all() -> None:
    unbound = measurement_set("snp", predicted("snp.launch_digest", b"\x0c" * 48, FIRMWARE), reason="firmware only")
    with pytest.raises(Finding) as caught:
        request(union([snp_set(), unbound])).values()
    assert caught.value.code == "PVB602"
    assert "firmware only" in str(caught.value.hint)


def test_what_identifies_both_is_what_identifies_each() -> None:
    by_rtmr1 = measurement_set("tdx", predicted("tdx.rtmr1", b"\x07" * 48), by=("tdx.rtmr1",))
    assert union([tdx_set(), by_rtmr1]).identifies_image.by == ("tdx.rtmr1",)


def test_different_evidence_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        union([snp_set(), tdx_set()])
    assert caught.value.code == "PVB661"
