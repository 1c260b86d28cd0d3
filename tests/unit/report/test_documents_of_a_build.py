"""The bill of materials and the page of a build: complete, the same every time, and nothing unescaped."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

from podvm_builder.formats.readers import BytesReader
from podvm_builder.measure.image import measure_image
from podvm_builder.model.lint import Excused, LintFinding, LintReport
from podvm_builder.model.manifest import ComponentRecord, PackageRecord
from podvm_builder.report.page import page
from podvm_builder.report.sbom import sbom
from tests.support.manifests import build, evidence
from tests.unit.test_measure_image import CLOUD, TPM


def test_every_package_and_component_is_listed_once() -> None:
    manifest, _, _ = build("debian-13/none/libvirt", CLOUD, evidence("tpm", *TPM))
    package = PackageRecord(name="libstdc++6", version="1:14.2+b1", arch="amd64")
    component = ComponentRecord(
        name="kata-agent",
        path="/usr/local/bin/kata-agent",
        sha256="ab" * 32,
        source="artifact ghcr.io/x/agent:1",
        digest="sha256:" + "cd" * 32,
        licence="Apache-2.0",
        verification="verified",
        note="signed by <them>",
    )
    manifest = replace(manifest, packages=(package,), components=(component,))
    document = sbom(manifest, distribution="debian")
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    first, second = document["components"]
    assert first["purl"] == "pkg:deb/debian/libstdc%2B%2B6@1%3A14.2%2Bb1?arch=amd64"
    assert second["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert second["licenses"] == [{"expression": "Apache-2.0"}]
    said = {one["name"].removeprefix("podvm-build:"): one["value"] for one in second["properties"]}
    assert (said["verification"], said["note"]) == ("verified", "signed by <them>")
    assert said["digest"] == component.digest and said["source"] == component.source
    silent = sbom(replace(manifest, components=(replace(component, licence="NOASSERTION"),)), distribution="debian")
    assert "licenses" not in silent["components"][-1]
    assert json.dumps(document) == json.dumps(sbom(manifest, distribution="debian"))


def test_the_page_has_every_register_and_escapes_what_it_is_given() -> None:
    manifest, disk, uki = build("debian-13/none/libvirt", CLOUD, evidence("tpm", *TPM))
    found = measure_image(manifest, image=BytesReader(disk), uki=BytesReader(uki), firmware={})
    component = ComponentRecord(
        name="a", path="/usr/<i>", sha256="ab" * 32, source="path <b>", digest="sha256:12", note="<u>", licence="<s>"
    )
    finding = LintFinding(code="PVB821", rule="setuid", place="/x", message="<script>y", mend="")
    linted = LintReport(
        subject="x", kind="image", target="x", excused=(Excused(finding=finding, reason="wanted", by="profile"),)
    )
    text = page(replace(manifest, target="<script>x</script>\u202e\x1b[2J", components=(component,)), found, linted)
    for word in ("/usr/&lt;i&gt;", "path &lt;b&gt;", "unverified: &lt;u&gt;", "&lt;s&gt;", "sha256:12"):
        assert word in text
    assert "<script>" not in text
    assert "PVB821, not counted" in text and "(profile: wanted)" in text
    assert not {"\u202e", "\x1b"} & set(text)
    parser = HTMLParser()
    parser.feed(text)
    for row in found.measurements:
        assert row.register in text and (row.value is None or row.value.hex() in text)
