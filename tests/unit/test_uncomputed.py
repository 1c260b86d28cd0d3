"""TEEs whose values are not computed say so, register by register."""

from __future__ import annotations

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.measure.uncomputed import REGISTERS, not_computed
from podvm_builder.model.axes import Target
from podvm_builder.model.measurement import Status
from podvm_builder.planning.make import make_plan


@pytest.mark.parametrize("tee", REGISTERS)
def test_no_register_has_a_value(tee: str) -> None:
    rows = not_computed(tee)
    assert tuple(row.register for row in rows) == REGISTERS[tee]
    assert {(row.value, row.status) for row in rows} == {(None, Status.NOT_COMPUTED)}
    assert all(row.reason and f"`{tee}`" in row.reason for row in rows)


@pytest.mark.parametrize("target", ["debian-12/se/libvirt:s390x", "fedora-43/cca/libvirt:aarch64"])
def test_nothing_is_said_to_identify_their_images(target: str) -> None:
    plan = make_plan(Target.parse(target), catalogue(), components_digest="")
    assert not plan.evidence.identifies and plan.evidence.promised == ()
    assert "does not compute" in plan.evidence.reason
