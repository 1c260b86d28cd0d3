"""An upgrade: the new image is let in beside the old one, and the old one is retired."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podvm_builder.cli.app import run
from podvm_builder.refvalues.trustee import read_operator_configmap
from tests.cli.test_refvalues_push import other_tdx_set, write
from tests.support.measurement_sets import measurement_set, predicted, snp_set, tdx_set
from tests.support.verifiers import kbs


def test_old_and_new_then_new_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = write(tmp_path / "old.json", tdx_set()), write(tmp_path / "new.json", other_tdx_set())
    with kbs() as running:
        where = ["--url", running.url]
        assert run(["refvalues", "push", old, *where]) == 0
        assert run(["refvalues", "push", new, *where]) == 0
        assert running.rvps.values["rtmr_1"] == ["02" * 48, "0c" * 48]
        capsys.readouterr()
        assert run(["refvalues", "retire", old, "--keep", new, *where, "--dry-run"]) == 0
        assert f"    - {'02' * 48}\n" in capsys.readouterr().out
        assert running.rvps.values["rtmr_1"] == ["02" * 48, "0c" * 48]
        assert run(["refvalues", "retire", old, "--keep", new, *where]) == 0
        assert running.rvps.values == {"mr_td": ["01" * 48], "rtmr_1": ["0c" * 48], "rtmr_2": ["0d" * 48]}
        capsys.readouterr()
        assert run(["refvalues", "retire", old, *where]) == 0
        assert capsys.readouterr().out.endswith("nothing to change\n")


def test_the_last_image_leaves_empty_lists_and_the_firmware(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = write(tmp_path / "old.json", tdx_set())
    with kbs() as running:
        where = ["--url", running.url]
        assert run(["refvalues", "push", old, *where]) == 0
        assert run(["refvalues", "retire", old, *where]) == 0
        assert running.rvps.values == {"mr_td": ["01" * 48], "rtmr_1": [], "rtmr_2": []}
        assert "no value is left: no machine passes by it" in capsys.readouterr().out


def test_a_selftest_image_can_always_be_retired(tmp_path: Path) -> None:
    image = write(tmp_path / "a.json", snp_set(flags=("selftest", "debug")))
    with kbs() as running:
        running.rvps.values = {"snp_launch_measurement": ["0a" * 48, "ee" * 48]}
        assert run(["refvalues", "retire", image, "--url", running.url]) == 0
        assert running.rvps.values == {"snp_launch_measurement": ["ee" * 48]}


def test_values_that_both_images_have_stay(tmp_path: Path) -> None:
    def image(*digests: int) -> object:
        rows = [predicted("snp.launch_digest", bytes([one]) * 48, vcpus=one) for one in digests]
        return measurement_set("snp", *rows, by=("snp.launch_digest",))

    old, new = write(tmp_path / "old.json", image(1, 2)), write(tmp_path / "new.json", image(2, 3))  # type: ignore[arg-type]
    with kbs() as running:
        assert run(["refvalues", "push", old, new, "--url", running.url]) == 0
        assert run(["refvalues", "retire", old, "--keep", new, "--url", running.url]) == 0
        assert running.rvps.values == {"snp_launch_measurement": ["02" * 48, "03" * 48]}


def test_a_manifest_is_made_and_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = write(tmp_path / "old.json", tdx_set()), write(tmp_path / "new.json", other_tdx_set())
    manifest = tmp_path / "values.yaml"
    arguments = ["--manifest", str(manifest), "--namespace", "coco", "--trustee", "0.20"]
    assert run(["refvalues", "push", old, *arguments]) == 0
    assert run(["refvalues", "push", new, *arguments]) == 0
    assert read_operator_configmap(manifest.read_bytes())["rtmr_2"] == ["03" * 48, "0d" * 48]
    capsys.readouterr()
    assert run(["refvalues", "push", new, *arguments]) == 0
    assert capsys.readouterr().out.endswith("nothing to change\n")
    assert run(["refvalues", "show", str(manifest), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["form"] == "operator-configmap"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--url", "http://127.0.0.1", "--manifest", "a.yaml"],
        ["--url", "http://127.0.0.1", "--namespace", "a"],
        ["--manifest", "a.yaml", "--admin-token", "token"],
        ["--manifest", "a.yaml", "--timeout", "3"],
        ["--manifest", "a.yaml", "--insecure-http"],
    ],
)
def test_options_that_would_be_ignored_are_refused(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["refvalues", "push", write(tmp_path / "a.json", snp_set()), *arguments]) == 2
    assert "error[PVB100]" in capsys.readouterr().err


def test_several_images_are_exported_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [write(tmp_path / "a.json", tdx_set()), write(tmp_path / "b.json", other_tdx_set())]
    assert run(["refvalues", "export", *images, "--to", "rvps-sample"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "rtmr_1": ["02" * 48, "0c" * 48],
        "rtmr_2": ["03" * 48, "0d" * 48],
        "mr_td": ["01" * 48],
    }
    assert run(["refvalues", "export", *images, write(tmp_path / "c.json", snp_set()), "--to", "rvps-sample"]) == 2
    assert "error[PVB661]" in capsys.readouterr().err
