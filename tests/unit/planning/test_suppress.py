"""The section `lint` of a profile."""

from __future__ import annotations

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import InputErrors
from podvm_builder.model.lint import Suppression
from podvm_builder.planning.make import make_plans
from podvm_builder.planning.profile import parse_profile

HEAD = "schema: 1\ndistro: debian-13\ntee: snp\ncloud: libvirt\n"
GOOD = 'lint: {suppress: [{code: PVB821, path: "/usr/bin/*", reason: "support asks for it"}]}\n'


def test_a_suppression_reaches_the_plan_and_its_identity() -> None:
    (plan,) = make_plans(parse_profile(HEAD + GOOD, file="acme.yaml"), catalogue(), components_digest="")
    (plain,) = make_plans(parse_profile(HEAD, file="acme.yaml"), catalogue(), components_digest="")
    assert plan.suppressions == (Suppression(code="PVB821", path="/usr/bin/*", reason="support asks for it"),)
    assert plain.suppressions == ()
    assert plan.ids.image == plain.ids.image and plan.ids.plan != plain.ids.plan
    (whole,) = parse_profile(HEAD + "lint:\n  suppress:\n    - {code: PVB810, reason: x}\n", file="a.yaml").suppressions
    assert whole.path == "*"


def test_the_command_line_replaces_them() -> None:
    sets = ['lint.suppress=[{code: PVB810, reason: "other"}]']
    (plan,) = make_plans(parse_profile(HEAD + GOOD, file="acme.yaml"), catalogue(), sets, components_digest="")
    assert [one.code for one in plan.suppressions] == ["PVB810"]


@pytest.mark.parametrize(
    ("section", "code", "said"),
    [
        ("lint: {suppress: [{code: PVB821}]}", "PVB105", "`reason` is missing"),
        ("lint: {suppress: [{reason: x}]}", "PVB105", "`code` is missing"),
        ("lint: {suppress: [{code: PVB821, reason: '  '}]}", "PVB803", "without a reason"),
        ("lint: {suppress: [{code: PVB821, reason: ''}]}", "PVB803", "without a reason"),
        ("lint: {suppress: [{code: PVB801, reason: x}]}", "PVB803", "the code of no lint rule"),
        ("lint: {suppress: [{code: setuid, reason: x}]}", "PVB803", "the code of no lint rule"),
        ("lint: {suppress: {code: PVB821, reason: x}}", "PVB104", "a list"),
        ("lint: {suppress: [{code: PVB821, reason: x, paths: /x}]}", "PVB103", "unknown key `paths`"),
        ("lint: {ignore: []}", "PVB103", "unknown key `ignore`"),
        ("lint: {suppress: []}", "PVB104", "at least one"),
    ],
)
def test_mistakes_have_a_place(section: str, code: str, said: str) -> None:
    with pytest.raises(InputErrors) as caught:
        parse_profile(f"{HEAD}{section}\n", file="acme.yaml")
    (error,) = caught.value.errors
    assert error.code == code
    assert said in error.message
    assert error.place is not None and error.place.line == 5
