"""What files say of themselves reaches a terminal without control characters."""

from __future__ import annotations

from dataclasses import replace

from podvm_builder.report.catalogue import table
from podvm_builder.report.plan import explain_text, plan_text
from tests.support.plans import selftest_plan

EVIL = "a\x1b[2J\u202eb\nc"


def test_a_plan() -> None:
    plan = selftest_plan("debian-13/none/libvirt")
    said = plan_text(replace(plan, profile=EVIL))
    assert not {"\x1b", "\u202e"} & set(said)


def test_the_story_of_a_value() -> None:
    origins = [{"layer": "profile", "place": EVIL, "what": EVIL}]
    said = explain_text([{"key": "kernel.cmdline", "value": EVIL, "origins": origins}])
    assert not {"\x1b", "\u202e"} & set(said)
    assert len(said.splitlines()) == 2


def test_a_table() -> None:
    said = table([{"name": EVIL}], {"name": "name"})
    assert said.splitlines() == ["name", "a\ufffd[2J\ufffdb\ufffdc"]
