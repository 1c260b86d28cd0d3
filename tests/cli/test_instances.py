"""Instance types: what is listed, and launch digests by ``measure snp --instance``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podvm_builder.catalog.cpus import SIGNATURES
from podvm_builder.catalog.instance_types import CERTAINTIES, instances
from podvm_builder.catalog.load import catalogue
from podvm_builder.cli.app import run
from podvm_builder.measure.inputs import Cpu
from podvm_builder.measure.snp import launch_digest
from podvm_builder.measure.vmm import find_vmm
from tests.support import firmware as fw


def test_every_type_fits_the_catalogue() -> None:
    known = catalogue()
    for instance in instances().values():
        cloud = known.clouds[instance.cloud]
        assert cloud.tees[instance.tee].reason is None
        assert instance.cpu in SIGNATURES
        assert instance.certainty in CERTAINTIES and instance.source


def test_types_are_listed_with_their_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "instances", "--cloud", "aws", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"].partition(".")[0] for row in rows} == {"aws:m6a", "aws:c6a", "aws:r6a"}
    (row,) = [row for row in rows if row["name"] == "aws:m6a.4xlarge"]
    assert (row["vcpus"], row["cpu"], row["predicted"]) == (16, "EPYC-Milan", True)
    assert row["source"] and row["certainty"] == "background"


def test_instances_give_the_digests_of_their_vcpus_cpu_and_vmm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = fw.Firmware(size=32 << 10, with_tdx=False).build()
    (tmp_path / "OVMF.fd").write_bytes(image)
    names = ["--instance", "aws:m6a.4xlarge", "--instance", "aws:r6a.large"]
    assert run(["measure", "snp", "--firmware", str(tmp_path / "OVMF.fd"), *names, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["measurements"]
    cpu, vmm = Cpu.parse("EPYC-Milan"), find_vmm("ec2")
    expected = [launch_digest(image, cpu=cpu, vcpus=count, vmm=vmm).hex() for count in (2, 16)]
    assert [row["value"] for row in found] == expected


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--instance", "aws:m6a.4xlarg"], "PVB150"),
        (["--instance", "azure:Standard_DC4as_v5"], "PVB151"),
        (["--instance", "aws:m6a.large", "--instance", "gcp:n2d-standard-2"], "PVB152"),
        (["--instance", "aws:m6a.large", "--vcpus", "2"], "PVB152"),
        (["--instance", "aws:m6a.large", "--vmm", "ec2"], "PVB152"),
        (["--instance", "aws:m6a.large", "--cpu", "EPYC-Milan"], "PVB152"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    args: list[str], code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["measure", "snp", "--firmware", str(tmp_path / "none.fd"), *args]) == 2
    assert code in capsys.readouterr().err


def test_an_unknown_type_is_answered_with_near_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure", "snp", "--firmware", str(tmp_path / "none.fd"), "--instance", "aws:m6a.4xlarg"]) == 2
    assert "`aws:m6a.4xlarge`" in capsys.readouterr().err


def test_list_instances_refuses_filters_that_mean_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "instances", "--level", "booted"]) == 2
    assert "PVB100" in capsys.readouterr().err
