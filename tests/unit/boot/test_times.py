"""Where a boot's time goes: what the guest says, the phases, and the picture."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from podvm_builder.boot.timeline import selftest_lines
from podvm_builder.boot.times import GuestTimes, guest_times, phases
from podvm_builder.guest.unit_check import AGENTS
from podvm_builder.model.boot import Extend, Outcome, Phase, Stage, UnitTime
from podvm_builder.report.boot_timeline import timeline_svg
from tests.unit.boot.test_report import RESULT

SVG = "{http://www.w3.org/2000/svg}"


def extend(seconds: float, pcr: int, subject: str | None = None) -> Extend:
    return Extend(seconds=seconds, command="TPM2_PCR_Extend", pcr=pcr, digests={}, subject=subject)


EXTENDS = (extend(0.5, 0), extend(3.0, 4, "UKI"), extend(4.0, 4, "kernel in section .linux"), extend(20.0, 8))
SAID = """PASS kata-agent: up
TIME init 3000000
TIME systemd 5000000
TIME unit dev-hugepages\\x2d1.mount 6000000 6500000
TIME unit process-user-data.service 12000000 15000000
TIME unit late.service 16000000 0
"""


def test_the_guests_clock_is_tied_to_ours() -> None:
    times = guest_times(SAID, EXTENDS)
    assert (times.init, times.systemd) == (8.0, 10.0)
    assert times.units == (
        UnitTime(name="dev-hugepages\\x2d1.mount", start=11.0, up=11.5),
        UnitTime(name="process-user-data.service", start=17.0, up=20.0),
        UnitTime(name="late.service", start=21.0, up=None),
    )
    assert [unit.seconds for unit in times.units] == [0.5, 3.0, 0.0]


def test_times_and_checks_are_not_taken_for_one_another() -> None:
    assert len(selftest_lines(SAID)) == 1
    said = "PASS a: TIME unit x.service 1 2\nFAIL a: TIME init 1\nTIME unit process-user-data.service 1 x\n"
    assert guest_times(said, EXTENDS) == GuestTimes()


@pytest.mark.parametrize(
    ("said", "extends"),
    [
        ("", EXTENDS),
        (SAID, EXTENDS[:-1]),
        (SAID.replace("15000000", "0"), EXTENDS),
        (SAID.replace("15000000", "99000000"), EXTENDS),
        (SAID.replace("process-user-data", "another"), EXTENDS),
        (SAID.replace("15000000", "9" * 400), EXTENDS),
    ],
)
def test_without_an_anchor_there_are_no_times(said: str, extends: tuple[Extend, ...]) -> None:
    assert guest_times(said, extends) == GuestTimes()


def test_phases_of_a_guest_that_offers_its_times() -> None:
    assert phases(EXTENDS, guest_times(SAID, EXTENDS), {}, 22.0) == tuple(
        Phase(name=name, start=start, end=end)
        for name, start, end in (
            ("firmware", 0.0, 3.0),
            ("loader", 3.0, 4.0),
            ("kernel", 4.0, 8.0),
            ("initrd", 8.0, 10.0),
            ("userspace", 10.0, 22.0),
        )
    )


def test_phases_without_a_border_are_one() -> None:
    silent = GuestTimes()
    assert [phase.name for phase in phases(EXTENDS, silent, {}, 22.0)] == [
        "firmware",
        "loader",
        "kernel, initrd, userspace",
    ]
    assert phases((), silent, {"systemd": 9.0}, 22.0) == (
        Phase(name="firmware, loader, kernel, initrd", start=0.0, end=9.0),
        Phase(name="userspace", start=9.0, end=22.0),
    )
    # what cannot be is passed over
    absurd = GuestTimes(init=1.0, systemd=1e9)
    assert [phase.name for phase in phases(EXTENDS, absurd, {}, 22.0)][-1] == "kernel, initrd, userspace"
    systemd_boot = (extend(2.0, 4, "systemd-boot"), *EXTENDS)
    assert phases(systemd_boot, silent, {}, 22.0)[1].start == 2.0
    assert phases(EXTENDS, silent, {}, None) == ()


def elements(svg: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(f"{SVG}{tag}"))  # noqa: S314 - our own document


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in elements(svg, "text")]


def test_the_picture_holds_every_phase_step_and_agent() -> None:
    agents = tuple(UnitTime(name=name, start=10.0 + at, up=10.5 + at) for at, name in enumerate(AGENTS))
    many = tuple(UnitTime(name=f"unit-{at}.service", start=5.0, up=7.0 + at / 10) for at in range(40))
    result = replace(RESULT, units=(*many, *agents, *RESULT.units))
    svg = timeline_svg(result)
    said = texts(svg)
    assert said[0] == "Boot of debian-13/snp/libvirt: up after 17.5 s, run by tcg"
    assert {phase.name for phase in result.phases} <= set(said)
    assert {stage.what for stage in result.timeline} <= set(said)
    assert {*AGENTS, "unit-39.service", "unit-26.service"} <= set(said)
    assert not {"unit-25.service", "starting.service", "quick.path"} & set(said)
    assert "<script" not in svg
    assert "prefers-color-scheme: dark" in svg
    bars = [element for element in elements(svg, "rect") if element.get("class") == "phase"]
    assert [round(float(bar.attrib["width"]) / 760 * 17.5, 2) for bar in bars] == [3.25, 14.25]


def test_the_picture_of_a_boot_that_did_not_come_up() -> None:
    stages = (Stage(seconds=2.0, source="console", what="\x1b<script>&\x00"),)
    said = texts(
        timeline_svg(replace(RESULT, outcome=Outcome.PANIC, seconds=None, phases=(), units=(), timeline=stages))
    )
    assert said[0] == "Boot of debian-13/snp/libvirt: not up (panic), run by tcg"
    assert "�<script>&�" in said
    assert "Phases" not in said
    assert texts(timeline_svg(replace(RESULT, outcome=Outcome.PANIC, seconds=None, phases=(), units=(), timeline=())))
