"""Images whose values are given away only when somebody says so, and facts that are said of machines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import Finding, InputError
from podvm_builder.model.fact import FACTS, Facts
from podvm_builder.refvalues import FORMATS, export, flat_map
from podvm_builder.refvalues.admission import ALLOWANCES, admit, allowances
from podvm_builder.refvalues.facts import DERIVED, fact_values, parse_facts
from tests.support.measurement_sets import request, snp_set

FLAGS = {"selftest": "selftest", "debug": "debug", "unverified-components": "unverified"}


@pytest.mark.parametrize("form", [name for name, one in FORMATS.items() if one.asks_policy])
@pytest.mark.parametrize(("flag", "word"), FLAGS.items())
def test_every_form_refuses_such_an_image_without_leave(form: str, flag: str, word: str) -> None:
    with pytest.raises(Finding) as caught:
        export(request(snp_set(flags=(flag,))), form)
    assert caught.value.code == "PVB608"
    assert f"--allow-{word}" in str(caught.value.hint)
    allowed = export(request(snp_set(flags=(flag,)), allow=frozenset({word})), form)
    assert allowed


def test_every_reason_needs_its_own_leave() -> None:
    with pytest.raises(Finding) as caught:
        admit(("selftest", "debug"), {"selftest", "unbound-image"})
    assert caught.value.hint == "--allow-debug exports its values all the same"
    admit(tuple(FLAGS), allowances(FLAGS))
    admit((), ())
    assert {*FLAGS.values(), "unbound-image"} == set(ALLOWANCES)


def test_facts_are_exported_in_the_types_of_their_claims() -> None:
    facts = parse_facts(["snp_bootloader=4,5", "snp_smt=enabled", "snp_guest_policy=0x3001f", "snp_bootloader=4"])
    assert facts == {"snp_bootloader": (4, 5), "snp_smt": ("enabled",), "snp_guest_policy": (0x3001F,)}
    assert flat_map(request(snp_set(), facts=facts).values()) == {
        "snp_launch_measurement": ["0a" * 48, "0b" * 48],
        "snp_bootloader": [4, 5],
        "snp_smt_enabled": True,
        "snp_guest_abi_major": 0,
        "snp_guest_abi_minor": 31,
        "snp_single_socket": False,
        "snp_smt_allowed": True,
    }
    old = flat_map(request(snp_set(), facts=facts, trustee="0.13").values())
    assert old["snp_bootloader"] == ["4", "5"]
    assert old["snp_smt_enabled"] == ["true"]
    assert old["snp_guest_abi_minor"] == ["31"]


def test_what_a_command_line_says_goes_before_what_the_measurements_carry() -> None:
    measurements = snp_set()
    object.__setattr__(measurements, "facts", {"snp_bootloader": (1,), "snp_tee": (0,)})
    values = flat_map(request(measurements, facts={"snp_bootloader": (4,)}).values())
    assert (values["snp_bootloader"], values["snp_tee_svn"]) == ([4], [0])


def test_several_values_where_one_is_compared_are_refused() -> None:
    with pytest.raises(Finding) as caught:
        request(snp_set(), facts={"snp_smt": ("enabled", "disabled")}).values()
    assert caught.value.code == "PVB609"
    # two guest policies that differ in what is not compared give one value
    assert request(snp_set(), facts={"snp_guest_policy": (0x30000, 0x1030000)}).values()


@pytest.mark.parametrize("policy", [0x30000 | 1 << 19, 0x30000 | 1 << 18])
def test_guests_that_can_be_debugged_or_migrated_are_refused(policy: int) -> None:
    with pytest.raises(Finding) as caught:
        request(snp_set(), facts={"snp_guest_policy": (policy,)}).values()
    assert caught.value.code == "PVB610"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "snp_bootloader",
        "SNP_bootloader=1",
        "snp_bootloader=",
        "snp_bootloader=-1",
        "snp_bootloader=256",
        "snp_bootloader=1_0",
        "snp_bootloader=\u0661",
        "snp_smt=on",
        "tdx_xfam=e7",
        "tdx_xfam=zz02060000000000",
        "tpm_ak=A",
        "tpm_ak=",
        "tdx_tcb_status=Fine",
        "sample_launch_digest=",
        "sample_launch_digest=a\x1b",
        "snp_guest_policy=0x1ffffffffffffffff",
    ],
)
def test_facts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_facts([text])
    assert caught.value.code == "PVB611"


@given(
    text=st.text(max_size=30)
    | st.sampled_from(sorted(FACTS)).flatmap(lambda n: st.text(max_size=20).map(lambda v: f"{n}={v}"))
)
def test_any_text_gives_facts_or_an_input_error(text: str) -> None:
    try:
        found: Facts = parse_facts([text])
    except InputError as error:
        assert error.code == "PVB611"
    else:
        assert all(fact_values(found, name) for name in found)


def test_what_is_derived_comes_from_facts() -> None:
    assert {fact for fact, _ in DERIVED.values()} <= FACTS.keys()


@pytest.mark.parametrize("flag", ["Selftest", "from-a-newer-release", ""])
def test_a_flag_that_is_not_known_is_no_leave(flag: str) -> None:
    every = frozenset(ALLOWANCES)
    with pytest.raises(Finding) as caught:
        export(request(snp_set(flags=(flag,)), allow=every), "rvps-sample")
    assert caught.value.code == "PVB608"
    assert f"`{flag}`" in caught.value.message
