"""Every target that is supported, under every version of Trustee: exported as it should be, or refused."""

from __future__ import annotations

import base64
from functools import cache

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import Finding, InputError
from podvm_builder.formats.readers import BytesReader
from podvm_builder.measure.image import measure_image
from podvm_builder.model.axes import Target
from podvm_builder.model.measurement import MeasurementSet, Status
from podvm_builder.planning.make import make_plan
from podvm_builder.planning.support import every_target, why_not
from podvm_builder.refvalues import FORMATS, export
from podvm_builder.refvalues.check import expect
from podvm_builder.refvalues.policies import KINDS
from podvm_builder.refvalues.versions import SUPPORTED, VERSIONS, parse_version
from tests.support import manifests
from tests.support.firmware import Firmware
from tests.support.measurement_sets import request
from tests.support.verifier_claims import FACTS

KNOWN = catalogue()
SUPPORTED_TARGETS = [target for target in every_target(KNOWN) if why_not(target, KNOWN) is None]
BUILT = sorted(str(one) for one in SUPPORTED_TARGETS if (one.distro, one.arch) == ("debian-13", "x86_64"))
FIRST = {"snp": (0, 12), "tdx": (0, 12), "tpm": (0, 16), "az-snp-vtpm": (0, 20), "az-tdx-vtpm": (0, 20)}


@cache
def measured(target: str) -> MeasurementSet:
    """Return what measuring says of a small image of a target, with firmware where the target has its own."""
    plan = make_plan(Target.parse(target), KNOWN, components_digest="")
    manifest, disk, uki = manifests.build(target, plan.platform, plan.evidence)
    given = {plan.platform.firmware: Firmware(size=1 << 16, unique_pages=4).build()} if plan.platform.firmware else {}
    return measure_image(manifest, image=BytesReader(disk), uki=BytesReader(uki), firmware=given)


@pytest.mark.parametrize("target", SUPPORTED_TARGETS, ids=str)
def test_the_evidence_of_every_target_is_one_that_policies_are_known_for(target: Target) -> None:
    assert make_plan(target, KNOWN, components_digest="").evidence.kind in {*KINDS, "none"}


@pytest.mark.parametrize("trustee", SUPPORTED)
@pytest.mark.parametrize("target", BUILT)
def test_every_target_is_exported_or_refused(target: str, trustee: str) -> None:
    found = measured(target)
    asked = request(found, trustee=trustee, facts=FACTS, allow=frozenset({"selftest"}))
    version = parse_version(trustee)
    if found.evidence == "none":
        with pytest.raises(InputError):
            expect(asked)
        return
    if version < FIRST[found.evidence]:
        with pytest.raises(InputError) as caught:
            expect(asked)
        assert caught.value.code == "PVB603"
        return
    told = expect(asked)
    assert told.any_image_passes is not found.identifies_image.value
    digests = {
        row.value
        for row in found.measurements
        if row.value is not None
        and row.status in {Status.PREDICTED, Status.PLATFORM}
        and row.variant.get("boot", found.boots[0]) in found.boots
    }
    for name, form in FORMATS.items():
        if form.decode is None or not form.in_build:
            continue
        if told.any_image_passes:
            with pytest.raises(Finding) as refused:
                export(asked, name)
            assert refused.value.code in {"PVB601", "PVB602"}
            continue
        document = export(asked, name)
        assert isinstance(document, bytes)
        values = form.decode(document)
        said = {value.hex() for value in digests}
        registers = {one.name for one in told.values.values if not one.register.startswith("fact ")}
        for register in registers & values.keys():
            texts = values[register]
            encoded = {hexadecimal(text, found.evidence, register, version) for text in texts}
            assert encoded <= said


def hexadecimal(text: str, evidence: str, name: str, version: tuple[int, int]) -> str:
    """Return a digest's hex, whichever way its claim is written."""
    old = evidence == "snp" and name == "snp_launch_measurement" and version < (0, 18)
    return base64.b64decode(text).hex() if old or name == "measurement" else text


def test_every_version_is_in_the_matrix() -> None:
    assert len(SUPPORTED) == len(VERSIONS) == 10
    assert {measured(target).evidence for target in BUILT} == {*FIRST, "none"}
