"""An upgrade: the new image is let in beside the old one, and the old one is retired."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from podvm_builder.cli.app import run
from podvm_builder.errors import InputError
from podvm_builder.model.event import Event
from podvm_builder.publish.history import FolderHistory
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


def test_a_history_knows_which_images_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def image(name: str, *digests: int) -> str:
        rows = [predicted("snp.launch_digest", bytes([one]) * 48, vcpus=one) for one in digests]
        found = measurement_set("snp", *rows, by=("snp.launch_digest",))
        return write(tmp_path / f"{name}.json", replace(found, ids={"image": name * 64}))

    old, new = image("a", 1, 2), image("b", 2, 3)
    history = tmp_path / "history"
    with kbs() as running:
        where = ["--url", running.url, "--history", str(history)]
        assert run(["refvalues", "push", old, *where]) == 0
        assert "recorded 000001-push.json" in capsys.readouterr().err
        assert run(["refvalues", "push", old, *where]) == 0
        assert run(["refvalues", "push", new, *where, "--dry-run"]) == 0
        assert run(["refvalues", "push", new, *where]) == 0
        assert run(["refvalues", "retire", old, *where]) == 0
        assert running.rvps.values == {"snp_launch_measurement": ["02" * 48, "03" * 48]}
    assert [path.name for path in sorted(history.iterdir())] == [
        "000001-push.json",
        "000002-push.json",
        "000003-retire.json",
    ]
    capsys.readouterr()
    assert run(["refvalues", "history", str(history)]) == 0
    said = capsys.readouterr().out
    assert said.endswith(f"{running.url} takes:\n  debian-13/snp/libvirt {'b' * 16}\n")
    assert run(["refvalues", "history", str(history), "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [one["action"] for one in shown["entries"]] == ["push", "push", "retire"]
    assert [one["image"] for one in shown["accepted"][running.url]] == ["b" * 64]
    assert run(["refvalues", "history", str(tmp_path / "nothing")]) == 0
    assert capsys.readouterr().out == "nothing was recorded yet\n"


def test_a_history_that_cannot_be_kept_says_that_the_verifier_was_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(*_: object) -> None:
        raise InputError("somebody was faster", code="PVB667")

    history = tmp_path / "history"
    monkeypatch.setattr(FolderHistory, "add", add)
    with kbs() as running:
        arguments = ["refvalues", "push", write(tmp_path / "a.json", snp_set()), "--url", running.url]
        assert run([*arguments, "--history", str(history)]) == 2
        assert running.rvps.values
    said = capsys.readouterr().err
    assert "error[PVB667]" in said
    assert "was told, but no record of it was kept" in said


def test_diff_says_which_value_of_which_register_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = write(tmp_path / "old.json", tdx_set()), write(tmp_path / "new.json", other_tdx_set())
    assert run(["refvalues", "diff", old, new]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "debian-13/snp/libvirt",
        "rtmr_1 changes: tdx.rtmr1 is another one",
        f"  - {'02' * 48}",
        f"  + {'0c' * 48}",
        "rtmr_2 changes: tdx.rtmr2 is another one",
        f"  - {'03' * 48}",
        f"  + {'0d' * 48}",
        "the same: mr_td",
        "tdx.rtmr0 is gone; the policy does not compare it",
    ]
    assert run(["refvalues", "diff", old, new, "--format", "json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["register"]) for one in shown["values"]] == [
        ("rtmr_1", "tdx.rtmr1"),
        ("rtmr_2", "tdx.rtmr2"),
    ]
    assert run(["refvalues", "diff", old, old]) == 0
    assert "a verifier sees no difference" in capsys.readouterr().out


def test_diff_names_what_moved_from_the_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def image(name: str, digest: bytes) -> str:
        event = Event(
            pcr=11, kind="EV_IPL", digests={"sha256": digest}, subject="section .cmdline", source="systemd-stub"
        )
        row = predicted("tpm.pcr11", hashlib.sha256(bytes(32) + digest).digest(), alg="sha256", boot="disk")
        found = measurement_set("tpm", replace(row, origin=("log", "disk")), by=("tpm.pcr11",))
        return write(tmp_path / f"{name}.json", replace(found, logs={"disk": (event,)}))

    assert run(["refvalues", "diff", image("a", b"\x01" * 32), image("b", b"\x02" * 32)]) == 1
    said = capsys.readouterr().out
    assert "tpm_pcr11 changes: tpm.pcr11 is another one\n" in said
    assert "  because of section .cmdline\n" in said


def test_a_place_that_is_no_history_is_refused_before_the_verifier_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write(tmp_path / "a.json", tdx_set())
    with kbs() as running:
        broken = tmp_path / "broken"
        broken.mkdir()
        (broken / "000001-push.json").write_text("{}", encoding="utf-8")
        for place in (image, "oci://bad", "", str(broken)):
            assert run(["refvalues", "push", image, "--url", running.url, "--history", place]) == 2
            assert "was told" not in capsys.readouterr().err
        assert running.rvps.values == {}


def test_an_image_does_not_leave_and_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write(tmp_path / "a.json", tdx_set())
    with kbs() as running:
        running.rvps.values = {"rtmr_1": ["02" * 48]}
        assert run(["refvalues", "retire", image, "--keep", image, "--url", running.url]) == 2
        assert "error[PVB659]" in capsys.readouterr().err
        assert running.rvps.values == {"rtmr_1": ["02" * 48]}
