"""Predicted against observed registers, and the first event that differs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from podvm_builder.boot import tpm
from podvm_builder.boot.prove import first_difference, label, prove, relevant
from podvm_builder.boot.timeline import selftest_lines, timeline
from podvm_builder.boot.tpm import PcrChange, TpmCommand
from podvm_builder.model.boot import Extend, SelftestLine
from podvm_builder.model.event import Event
from podvm_builder.model.measurement import Identification, Measurement, MeasurementSet, Status, Variant

BANKS = ("sha1", "sha256")


def digests(word: str) -> dict[str, bytes]:
    return {alg: hashlib.new(alg, word.encode()).digest() for alg in BANKS}


def event(pcr: int, word: str) -> Event:
    return Event(pcr=pcr, kind="EV_IPL", digests=digests(word), subject=word, source="systemd-stub")


def extend(pcr: int, word: str, seconds: float = 1.0) -> Extend:
    return Extend(seconds=seconds, command=TpmCommand.EXTEND.value, pcr=pcr, digests=digests(word))


def folded(extends: Sequence[Extend]) -> dict[str, dict[int, bytes]]:
    changes = [PcrChange(command=TpmCommand.EXTEND, pcr=e.pcr, digests=e.digests) for e in extends]
    return {alg: {pcr: tpm.fold(changes, pcr, alg) for pcr in range(24)} for alg in BANKS}


def row(log: Sequence[Event], pcr: int, alg: str, **variant: str | int) -> Measurement:
    value = folded([Extend(seconds=0, command="TPM2_PCR_Extend", pcr=e.pcr, digests=e.digests) for e in log])[alg][pcr]
    return Measurement(
        register=f"tpm.pcr{pcr:02d}",
        alg=alg,
        status=Status.PREDICTED,
        value=value,
        variant={"boot": "disk", **variant},
        origin=("log", "disk"),
    )


LOG = (event(4, "action"), event(4, "UKI"), event(11, ".linux"), event(11, ".initrd"), event(4, ".linux PE"))


def test_equal_registers() -> None:
    seen = [extend(e.pcr, e.subject) for e in LOG]
    rows = [row(LOG, pcr, alg) for pcr in (4, 11, 12) for alg in BANKS]
    proofs = prove(rows, {"disk": LOG}, seen, folded(seen))
    compared = [(p.register, p.alg, p.equal, p.explained) for p in proofs if p.equal is not None]
    assert compared == [(f"tpm.pcr{pcr}", alg, True, True) for pcr in ("04", "11", "12") for alg in BANKS]
    # what nobody predicted is shown all the same
    assert len(proofs) == 24 * len(BANKS)
    assert all(p.status is None and p.predicted is None for p in proofs if p.register == "tpm.pcr15")


def test_a_changed_event_is_found() -> None:
    seen = [extend(4, "action"), extend(4, "another UKI", 2.5), extend(4, ".linux PE")]
    [proof] = [
        p
        for p in prove([row(LOG, 4, "sha256")], {"disk": LOG}, seen, folded(seen))
        if (p.register, p.alg) == ("tpm.pcr04", "sha256")
    ]
    assert proof.equal is False
    assert proof.explained
    difference = proof.first_difference
    assert difference is not None
    assert (difference.index, difference.expected, difference.seconds) == (1, LOG[1], 2.5)
    assert difference.observed == digests("another UKI")["sha256"]
    assert difference.observed_is is None


def test_a_missing_event_shows_what_came_in_its_place() -> None:
    seen = [extend(4, "action"), extend(4, ".linux PE")]
    difference = first_difference(4, "sha256", LOG, seen)
    assert difference is not None
    assert difference.expected == LOG[1]
    assert difference.observed_is == "event 2 of PCR 4, .linux PE"


def test_a_boot_that_stops_short() -> None:
    difference = first_difference(11, "sha256", LOG, [extend(11, ".linux")])
    assert difference is not None
    assert (difference.index, difference.expected, difference.observed) == (1, LOG[3], None)


def test_a_boot_that_goes_on() -> None:
    seen = [extend(11, ".linux"), extend(11, ".initrd"), extend(11, "enter-initrd", 9.0)]
    difference = first_difference(11, "sha256", LOG, seen)
    assert difference is not None
    assert (difference.index, difference.expected, difference.seconds) == (2, None, 9.0)


def test_an_event_of_another_register_is_named() -> None:
    difference = first_difference(11, "sha256", LOG, [extend(11, "UKI")])
    assert difference is not None
    assert difference.observed_is == "event 1 of PCR 4, UKI"


def test_a_register_that_the_log_does_not_explain() -> None:
    seen = [extend(4, "action")]
    observed = folded([extend(4, "action"), extend(4, "unseen")])
    proof = next(p for p in prove([], {}, seen, observed) if (p.register, p.alg) == ("tpm.pcr04", "sha256"))
    assert not proof.explained


def test_a_bank_that_the_tpm_lacks_is_not_equal() -> None:
    proof = prove([row(LOG, 4, "sha256")], {"disk": LOG}, [], {})[0]
    assert (proof.equal, proof.observed, proof.explained) == (False, None, False)


def test_rows_hold_only_where_the_machine_says_all_they_depend_on() -> None:
    def one(**variant: str | int) -> Measurement:
        return row(LOG, 4, "sha256", **variant)

    rows = (one(), one(secure_boot="absent"), one(secure_boot="on"), one(phase="sysinit"), one(vcpus=2))
    other: Variant = {"boot": "direct"}
    direct = Measurement(register="tpm.pcr04", alg="sha256", status=Status.PREDICTED, value=bytes(32), variant=other)
    launch = Measurement(register="snp.launch_digest", alg="sha384", status=Status.PREDICTED, value=bytes(48))
    measurements = MeasurementSet(
        target="debian-13/none/libvirt",
        ids={},
        identifies_image=Identification(value=True, by=(), reason="test"),
        logs={},
        regions={},
        measurements=(*rows, direct, launch),
    )
    facts = {"boot": "disk", "secure_boot": "absent", "vcpus": 2}
    # a boot goes through every phase
    assert relevant(measurements, facts) == (rows[0], rows[1], rows[3], rows[4])


PHASED = (event(11, ".linux"), event(11, "sysinit"), event(11, "ready"))


def phased(seen: Sequence[Extend]) -> dict[str | None, tuple[bool | None, str | None]]:
    log = tuple(replace(e, subject=f"phase {e.subject}") if n else e for n, e in enumerate(PHASED))
    rows = [row(PHASED[:2], 11, "sha256", phase="sysinit"), row(PHASED, 11, "sha256", phase="ready")]
    proofs = prove(rows, {"disk": log}, seen, folded(seen), last_phase="ready")
    compared = [p for p in proofs if (p.register, p.alg) == ("tpm.pcr11", "sha256")]
    assert [p.phase for p in compared] == ["sysinit", "ready"]
    return {
        p.phase: (
            p.equal,
            p.first_difference.expected.subject if p.first_difference and p.first_difference.expected else None,
        )
        for p in compared
    }


def test_each_phase_is_compared_with_the_value_of_its_time() -> None:
    seen = [extend(11, e.subject) for e in PHASED]
    assert phased([*seen[:2], extend(4, "late"), seen[2]]) == {"sysinit": (True, None), "ready": (True, None)}


def test_a_phase_that_never_came_is_no_match() -> None:
    seen = [extend(11, e.subject) for e in PHASED]
    assert phased(seen[:2]) == {"sysinit": (True, None), "ready": (False, "phase ready")}
    assert phased(seen[:1]) == {"sysinit": (False, "phase sysinit"), "ready": (False, "phase sysinit")}


def test_what_comes_after_the_last_phase_counts() -> None:
    seen = [extend(11, e.subject) for e in PHASED]
    assert phased([*seen, extend(11, "intruder")]) == {"sysinit": (True, None), "ready": (False, None)}


def test_what_comes_before_a_phase_counts() -> None:
    seen = [extend(11, ".linux"), extend(11, "intruder"), extend(11, "sysinit"), extend(11, "ready")]
    assert phased(seen) == {"sysinit": (False, "phase sysinit"), "ready": (False, "phase sysinit")}


def test_labels_use_each_predicted_event_once() -> None:
    log = (event(4, "action"), event(4, "UKI"), event(4, "action"))
    seen = [extend(4, "action"), extend(4, "action"), extend(4, "action"), extend(5, "UKI")]
    assert [e.subject for e in label(seen, log)] == ["action", "action", None, None]


def test_timeline_is_in_the_order_of_time() -> None:
    seen = label([extend(0, "crtm", 0.5), extend(4, "UKI", 3.0), extend(11, ".linux", 3.5)], LOG)
    stages = timeline(seen, {"kernel": 5.0, "firmware starts the loader": 2.0}, 17.0)
    assert [(stage.seconds, stage.source, stage.what) for stage in stages] == [
        (0.5, "tpm", "the firmware starts to measure"),
        (2.0, "console", "firmware starts the loader"),
        (3.0, "tpm", "the firmware loads the UKI"),
        (3.5, "tpm", "the stub measures the UKI's sections"),
        (5.0, "console", "kernel"),
        (17.0, "network", "the forwarder answers"),
    ]


def test_only_the_selftest_components_words_are_a_report() -> None:
    said = "PASS kata-agent: cdh listens\nFAIL kata-agent: nobody can log in\n\x16\x03\x01 PASS\nPASS : x\n"
    assert selftest_lines(said) == (
        SelftestLine(passed=True, component="kata-agent", what="cdh listens"),
        SelftestLine(passed=False, component="kata-agent", what="nobody can log in"),
    )
