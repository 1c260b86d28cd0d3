"""`refvalues export` and `refvalues show` from files to files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podvm_builder.cli.app import run
from podvm_builder.formats.documents import measurements_to_json
from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.refvalues import FORMATS, export
from tests.support.measurement_sets import FIRMWARE, measurement_set, predicted, request, snp_set, tdx_set, vtpm_set


def write(folder: Path, measurements: MeasurementSet) -> str:
    file = folder / "measurements.json"
    file.write_text(json.dumps(measurements_to_json(measurements)), encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("form", [name for name, one in FORMATS.items() if one.asks_policy and one.decode is not None])
def test_stdout_is_the_document_and_stderr_the_talk(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(["refvalues", "export", write(tmp_path, snp_set(flags=("selftest",))), "--to", form, "--allow-selftest"])
        == 0
    )
    captured = capsys.readouterr()
    assert captured.out.encode() == export(request(snp_set(flags=("selftest",)), allow=frozenset({"selftest"})), form)
    assert "snp_launch_measurement: 2 value(s) from snp.launch_digest\n" in captured.err
    assert "identifies the image: yes (by snp.launch_digest)\n" in captured.err
    assert "caution: the image holds the selftest programs" in captured.err
    assert "for the platform's owner to register: snp_bootloader, " in captured.err


def test_a_file_is_written_whole_and_can_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "values.yaml"
    source = write(tmp_path, tdx_set())
    assert run(["refvalues", "export", source, "--to", "operator-configmap", "-o", str(output)]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"wrote {output}" in captured.err

    assert run(["refvalues", "show", str(output), "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["form"] == "operator-configmap"
    assert shown["values"]["mr_td"] == ["01" * 48]
    assert run(["refvalues", "show", str(output)]) == 0
    assert f"rtmr_1: any of 1\n  {'02' * 48}\n" in capsys.readouterr().out


def test_a_policy_that_compares_too_little_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["refvalues", "export", write(tmp_path, vtpm_set("az-snp-vtpm")), "--to", "rvps-sample"]) == 0
    line = "identifies the image: in part (by tpm.pcr11; the policy does not compare tpm.pcr04, tpm.pcr12)\n"
    assert line in capsys.readouterr().err


def test_an_image_that_the_values_do_not_identify_needs_leave(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unbound = measurement_set("snp", predicted("snp.launch_digest", b"\x0c" * 48, FIRMWARE), reason="firmware only")
    arguments = ["refvalues", "export", write(tmp_path, unbound), "--to", "rvps-sample"]
    assert run(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error[PVB602]" in captured.err
    assert run([*arguments, "--allow-unbound-image"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"snp_launch_measurement": ["0c" * 48]}
    assert "identifies the image: no" in captured.err
    assert "caution: any image passes" in captured.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--trustee", "0.11"], "PVB603"),
        (["--evidence", "se"], "PVB604"),
        (["--expires", "tomorrow"], "PVB100"),
        (["--to", "operator-configmap", "--expires", "tomorrow"], "PVB605"),
        (["--to", "operator-configmap", "--name", "A B"], "PVB605"),
        (["--to", "no-such-form"], "PVB100"),
        (["--use-rvps"], "PVB100"),
        (["--policy", "operator", "--trustee", "0.20"], "PVB603"),
        (["--policy", "operator", "--to", "rego"], "PVB100"),
        (["--to", "local-fs"], "PVB100"),
        (["--to", "local-fs", "--trustee", "0.18"], "PVB603"),
        (["--to", "rvps-uri", "--trustee", "0.17"], "PVB603"),
        (["--fact", "snp_microcode"], "PVB611"),
        (["--fact", "nothing=1"], "PVB611"),
        (["--fact", "snp_microcode=256"], "PVB611"),
    ],
)
def test_bad_options_exit_2(
    arguments: list[str], code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["refvalues", "export", write(tmp_path, snp_set()), "--to", "rvps-sample", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"error[{code}]" in captured.err


def test_the_folder_of_a_build_stands_for_its_measurements(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["refvalues", "export", str(tmp_path), "--to", "rvps-sample"]
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert "error[PVB320]" in captured.err
    assert str(tmp_path / "measurements.json") in captured.err
    write(tmp_path, snp_set())
    assert run(arguments) == 0


def test_stdin_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(write(tmp_path, tdx_set())).open(encoding="utf-8") as file:
        monkeypatch.setattr("sys.stdin", file)
        assert run(["refvalues", "export", "-", "--to", "rvps-sample"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == {"mr_td", "rtmr_1", "rtmr_2"}


def test_a_file_that_holds_no_measurements_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "measurements.json"
    file.write_text("{}", encoding="utf-8")
    assert run(["refvalues", "export", str(file), "--to", "rvps-sample"]) == 2
    captured = capsys.readouterr()
    assert "error[PVB202]" in captured.err
    assert str(file) in captured.err


def test_what_a_file_says_is_harmless_to_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "values.json"
    file.write_text(json.dumps({"a\x1b[2J": ["b\r\nform: c"]}), encoding="utf-8")
    assert run(["refvalues", "show", str(file)]) == 0
    assert capsys.readouterr().out == "form: rvps-sample\na\ufffd[2J: any of 1\n  b\ufffd\ufffdform: c\n"


def test_measurements_are_no_reference_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["refvalues", "show", write(tmp_path, snp_set())]) == 2
    assert "`podvm-measurements/1` document; `refvalues export` makes values of it" in capsys.readouterr().err


FACTS = ["snp_bootloader=4", "snp_microcode=209", "snp_firmware=22", "snp_tee=0"]


def test_check_tells_what_to_expect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path, snp_set())
    assert run(["refvalues", "check", source, "--trustee", "0.21"]) == 1
    assert "status: contraindicated\n" in capsys.readouterr().out
    told = [word for fact in FACTS for word in ("--fact", fact)]
    assert run(["refvalues", "check", source, *told]) == 0
    assert "status: affirming\n" in capsys.readouterr().out
    assert run(["refvalues", "check", source, *told, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trust_vector"] == {
        "instance-identity": 0,
        "configuration": 3,
        "executables": 3,
        "file-system": 0,
        "hardware": 2,
        "runtime-opaque": 0,
        "storage-opaque": 0,
        "sourced-data": 0,
    }
    assert found["claims"]["snp"]["reported_tcb_microcode"] == 209


def test_check_says_that_any_image_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unbound = measurement_set("snp", predicted("snp.launch_digest", b"\x0c" * 48, FIRMWARE), reason="firmware only")
    told = [word for fact in FACTS for word in ("--fact", fact)]
    assert run(["refvalues", "check", write(tmp_path, unbound), *told]) == 1
    assert "\nany image passes\n" in capsys.readouterr().out


def test_a_selftest_image_needs_leave(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["refvalues", "export", write(tmp_path, snp_set(flags=("selftest",))), "--to", "rvps-message"]
    assert run(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error[PVB608]" in captured.err
    assert "--allow-selftest" in captured.err
    assert run([*arguments, "--allow-selftest"]) == 0


def test_the_files_of_a_storage_are_written_into_a_new_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = write(tmp_path, tdx_set()), tmp_path / "store"
    arguments = ["refvalues", "export", source, "--to", "local-fs", "-o", str(out)]
    assert run(arguments) == 0
    assert sorted(path.name for path in (out / "reference_value").iterdir()) == ["mr_td", "rtmr_1", "rtmr_2"]
    capsys.readouterr()
    assert run(["refvalues", "show", str(out)]) == 0
    assert capsys.readouterr().out.startswith("form: local-fs\n")
    assert run(arguments) == 2
    assert "error[PVB324]" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_names_of_uris_carry_what_tells_variants_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path, snp_set())
    arguments = [
        "refvalues",
        "export",
        source,
        "--to",
        "rvps-uri",
        "--uri-path",
        "example.com/podvm",
        "--uri-tag",
        "v1",
    ]
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out) == {
        "rvps:///example.com/podvm/snp/measurement/vcpus-1:v1": "0a" * 48,
        "rvps:///example.com/podvm/snp/measurement/vcpus-2:v1": "0b" * 48,
    }


def test_a_policy_is_exported_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "policy.rego"
    arguments = ["refvalues", "export", write(tmp_path, tdx_set()), "--to", "rego", "-o", str(out)]
    assert run(arguments) == 0
    capsys.readouterr()
    assert run(["refvalues", "show", str(out)]) == 0
    assert f"rtmr_1: any of 1\n  {'02' * 48}\n" in capsys.readouterr().out
    assert run([*arguments, "--use-rvps"]) == 0
    capsys.readouterr()
    assert run(["refvalues", "show", str(out)]) == 0
    assert "mr_td: asked of the RVPS\n" in capsys.readouterr().out
