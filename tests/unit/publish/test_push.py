"""Reading, merging, writing and reading back, against verifiers on loopback that fail in the ways real ones do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from podvm_builder.errors import RemoteError
from podvm_builder.publish import rvps as rvps_module
from podvm_builder.publish import web
from podvm_builder.publish.address import parse_address
from podvm_builder.publish.connect import open_store
from podvm_builder.publish.push import Outcome, apply
from podvm_builder.refvalues.merge import plan_push
from tests.support.verifiers import Kbs, Rvps, bearer, kbs, rvps

GOOD, BAD = "abc.def.ghi", "abc.def.xxx"
WANTED = {"mr_td": ["01" * 48], "rtmr_1": ["02" * 48], "rtmr_2": ["03" * 48]}


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "PAUSE", 0)
    monkeypatch.setattr(rvps_module, "PAUSE", 0)


@pytest.fixture(params=["kbs", "rvps"])
def verifier(request: pytest.FixtureRequest) -> Iterator[tuple[Rvps, str]]:
    if request.param == "kbs":
        with kbs() as running:
            yield running.rvps, running.url
    else:
        with rvps() as running:
            yield running


def push(url: str, wanted: dict[str, Any] = WANTED, *, dry_run: bool = False, **options: Any) -> Outcome:
    with open_store(parse_address(url), trustee=options.pop("trustee", "0.21"), **options) as store:
        return apply(store, list(wanted), lambda stored: plan_push(stored, wanted), dry_run=dry_run)


def test_the_second_push_changes_nothing(verifier: tuple[Rvps, str]) -> None:
    model, url = verifier
    assert push(url).written
    assert model.values == WANTED
    second = push(url)
    assert not second.written
    assert not second.is_change
    assert model.registrations == 1


def test_what_others_registered_stays(verifier: tuple[Rvps, str]) -> None:
    model, url = verifier
    model.values = {"mr_td": ["aa" * 48, "01" * 48], "rtmr_1": ["bb" * 48], "svn": 1, "snp_smt_enabled": True}
    push(url)
    assert model.values == {
        "mr_td": ["aa" * 48, "01" * 48],
        "rtmr_1": ["bb" * 48, "02" * 48],
        "rtmr_2": ["03" * 48],
        "svn": 1,
        "snp_smt_enabled": True,
    }


def test_a_dry_run_writes_nothing(verifier: tuple[Rvps, str]) -> None:
    model, url = verifier
    outcome = push(url, dry_run=True)
    assert outcome.is_change
    assert not outcome.written
    assert model.registrations == 0


def test_types_are_kept(verifier: tuple[Rvps, str]) -> None:
    model, url = verifier
    wanted = {"snp_bootloader": [4, 5], "snp_smt_enabled": False, "snp_guest_abi_minor": 31, "x": ["1"], "é/b c": "ü"}
    push(url, wanted)
    assert repr(model.values) == repr(wanted)
    assert not push(url, wanted).is_change


def test_a_failure_half_way_says_what_is_there_and_can_be_run_again(verifier: tuple[Rvps, str]) -> None:
    model, url = verifier
    model.trouble.stop_after = 2
    with pytest.raises(RemoteError) as caught:
        push(url)
    assert caught.value.code == "PVB654"
    assert "written: `mr_td`, `rtmr_1`; not written: `rtmr_2`" in str(caught.value)
    assert "storage failed" in str(caught.value)
    model.trouble.stop_after = None
    outcome = push(url)
    assert [change.name for change in outcome.changes if change.is_change] == ["rtmr_2"]
    assert model.values == WANTED


def test_a_failure_before_anything_was_stored_says_so(verifier: tuple[Rvps, str]) -> None:
    model, url = verifier
    model.trouble.stop_after = 0
    with pytest.raises(RemoteError, match=r"written: nothing; not written: `mr_td`, `rtmr_1`, `rtmr_2`: ") as caught:
        push(url)
    assert caught.value.code == "PVB654"


def test_a_server_that_stores_something_else_is_found_out(verifier: tuple[Rvps, str]) -> None:
    model, url = verifier
    model.trouble.change = lambda name, value: ["00"] if name == "rtmr_1" else value
    with pytest.raises(RemoteError, match="`rtmr_1` holds something else than what was written") as caught:
        push(url)
    assert caught.value.code == "PVB655"


def test_a_server_that_drops_values_in_silence_is_found_out(verifier: tuple[Rvps, str]) -> None:
    model, url = verifier
    model.values = {"rtmr_1": ["old"]}
    model.trouble.change = lambda name, value: ["old"] if name == "rtmr_1" else value
    with pytest.raises(RemoteError, match="not written: `rtmr_1`, though the answer was that all is well") as caught:
        push(url)
    assert caught.value.code == "PVB654"


def test_a_list_in_another_order_is_the_same(verifier: tuple[Rvps, str]) -> None:
    model, url = verifier
    model.trouble.change = lambda _, value: list(reversed(value))
    assert push(url, {"mr_td": ["a", "b"]}).written


def test_a_question_is_asked_again(verifier: tuple[Rvps, str]) -> None:
    model, url = verifier
    model.trouble.answer_503_to_get = 2
    assert push(url).written
    model.trouble.answer_503_to_get = 3
    with pytest.raises(RemoteError) as caught:
        push(url)
    assert caught.value.code == "PVB653"


def test_older_versions_give_all_values_at_once() -> None:
    with kbs(by_name=False) as running, rvps(by_name=False) as (model, url):
        for rvps_model, address in ((running.rvps, running.url), (model, url)):
            rvps_model.values = {"mr_td": ["aa"], "svn": 1}
            push(address, trustee="0.15")
            assert rvps_model.values == {**WANTED, "mr_td": ["aa", "01" * 48], "svn": 1}
            assert not push(address, trustee="0.15").is_change


@pytest.mark.parametrize("trustee", ["0.15", "0.21"])
def test_the_wrong_version_is_noticed_and_nothing_written(trustee: str) -> None:
    with kbs(by_name=trustee != "0.21") as running:
        with pytest.raises(RemoteError):
            push(running.url, trustee=trustee)
        assert running.rvps.registrations == 0


def test_a_500_that_stored_everything_is_no_failure() -> None:
    with kbs() as running:
        running.rvps.trouble.answer_500_after_storing = True
        assert push(running.url).written
        assert running.rvps.values == WANTED


def test_a_500_to_a_question_writes_nothing() -> None:
    with kbs() as running:
        running.rvps.trouble.answer_500 = 1
        with pytest.raises(RemoteError, match="answered 500") as caught:
            push(running.url)
        assert caught.value.code == "PVB653"
        assert running.rvps.registrations == 0


def test_what_changes_something_is_sent_once() -> None:
    with kbs() as running:
        running.rvps.trouble.stop_after = 0
        with pytest.raises(RemoteError):
            push(running.url)
        assert running.rvps.registrations == 1
        assert [one for one in running.requests if one.startswith("POST")] == ["POST /kbs/v0/reference-value"]


def test_when_nothing_can_be_read_afterwards_it_is_said_that_it_is_not_known() -> None:
    with kbs() as running:
        running.rvps.trouble.break_reads_after_write = True
        with pytest.raises(RemoteError, match="it is not known what was written of `mr_td`") as caught:
            push(running.url)
        assert caught.value.code == "PVB654"


def test_the_token_goes_with_every_request_and_a_wrong_one_is_refused() -> None:
    with kbs(bearer(GOOD)) as running:
        with pytest.raises(RemoteError, match="admin access denied") as caught:
            push(running.url, token=BAD)
        assert caught.value.code == "PVB652"
        assert BAD not in str(caught.value)
        with pytest.raises(RemoteError, match="answered 401"):
            push(running.url)
        assert running.rvps.values == {}
        assert push(running.url, token=GOOD).written


def silence(running: Kbs, *, writes_only: bool) -> None:
    running.rvps.trouble.silent = threading.Event()
    running.rvps.trouble.silent_writes_only = writes_only


def test_a_server_that_does_not_answer_is_given_up() -> None:
    with kbs() as running:
        silence(running, writes_only=False)
        with pytest.raises(RemoteError, match=r"no complete answer within 0\.05 s") as caught:
            push(running.url, timeout=0.05)
        assert caught.value.code == "PVB653"
        # under load, the server may not have read of a request what was given up already
        assert 1 <= len(running.requests) <= web.ATTEMPTS


def test_a_server_that_sends_a_byte_now_and_then_is_given_up() -> None:
    with kbs() as running:
        running.rvps.trouble.drip = True
        with pytest.raises(RemoteError, match=r"no complete answer within 0\.2 s") as caught:
            push(running.url, timeout=0.2)
        assert caught.value.code == "PVB653"


def test_a_write_that_is_not_answered_is_looked_at() -> None:
    with kbs() as running:
        silence(running, writes_only=True)
        with pytest.raises(RemoteError, match="written: nothing; not written") as caught:
            push(running.url, timeout=0.5)
        assert caught.value.code == "PVB654"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_an_answer_that_is_no_json_is_refused(body: bytes) -> None:
    with kbs() as running:
        running.rvps.trouble.body = body
        with pytest.raises(RemoteError, match="the answer is not JSON") as caught:
            push(running.url)
        assert caught.value.code == "PVB653"


def test_an_answer_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MAX_ANSWER", 1000)
    with kbs() as running:
        running.rvps.trouble.body = b" " * 1001
        with pytest.raises(RemoteError, match="larger than 1000 bytes"):
            push(running.url)


def test_a_redirection_does_not_take_the_token_elsewhere() -> None:
    with kbs(bearer(GOOD)) as elsewhere, kbs(bearer(GOOD)) as running:
        running.rvps.trouble.redirect = f"{elsewhere.url}/kbs/v0/reference-value/mr_td"
        with pytest.raises(RemoteError, match="answered 307"):
            push(running.url, token=GOOD)
        assert elsewhere.requests == []


def test_no_server_at_all() -> None:
    with kbs() as running, rvps() as (_, url):
        gone = [running.url, url]
    for address in gone:
        with pytest.raises(RemoteError) as caught:
            push(address, timeout=2)
        assert caught.value.code == "PVB653"


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05abc", b"\x0a\x01\xff", b"\x0a\x01{", b"\x0b"])
def test_an_answer_that_is_no_message_is_refused(body: bytes) -> None:
    with rvps() as (model, url):
        model.trouble.body = body
        with pytest.raises(RemoteError, match="the answer is ") as caught:
            push(url)
        assert caught.value.code == "PVB653"
        assert model.registrations == 0
