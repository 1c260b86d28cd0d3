"""Exports that no policy of Trustee reads, from files to files: written, shown, signed, checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podvm_builder.cli.app import run
from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.refvalues import FORMATS
from tests.cli.test_refvalues_push import write
from tests.support.keys import private_pem, public_pem
from tests.support.measurement_sets import measurement_set, predicted, snp_set, tdx_set


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = tmp_path / "key.pem"
    path.write_bytes(private_pem("p384"))
    return str(path)


def tpm_set() -> MeasurementSet:
    rows = [
        predicted(f"tpm.pcr{pcr}", bytes([int(pcr)]) * size, alg=alg, boot="disk")
        for pcr in ("04", "12")
        for alg, size in (("sha256", 32), ("sha384", 48))
    ]
    return measurement_set("tpm", *rows, by=("tpm.pcr04", "tpm.pcr11", "tpm.pcr12"))


@pytest.mark.parametrize(
    ("form", "measurements", "more"),
    [
        ("corim", snp_set(), []),
        ("corim-amd", snp_set(), ["--product", "Genoa"]),
        ("corim-intel", tdx_set(), []),
        ("in-toto", tdx_set(), []),
        ("id-block", snp_set(), ["--key", "KEY", "--fact", "snp_guest_policy=0x30000"]),
        ("caa-json", tpm_set(), ["--boot", "disk"]),
        ("caa-annotations", tpm_set(), []),
        ("kms-condition", tpm_set(), []),
        ("maa", tpm_set(), []),
        ("ita", tdx_set(), []),
    ],
)
def test_a_file_is_written_and_shown(  # noqa: PLR0917 - one argument a column
    form: str,
    measurements: MeasurementSet,
    more: list[str],
    key: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "exported"
    source = write(tmp_path / "m.json", measurements)
    options = [key if one == "KEY" else one for one in more]
    assert run(["refvalues", "export", source, "--to", form, "-o", str(output), *options]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "identifies the image: " in said.err
    assert run(["refvalues", "show", str(output), "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["form"] == form
    values = {row.value.hex() for row in measurements.measurements if row.value is not None}
    assert {value for one in shown["values"].values() for value in one} <= values


def test_what_is_not_in_the_form_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "m.json", tpm_set())
    assert run(["refvalues", "export", source, "--to", "kms-condition"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "StringEquals": {
            "kms:RecipientAttestation:NitroTPMPCR4": "04" * 48,
            "kms:RecipientAttestation:NitroTPMPCR12": "0c" * 48,
        }
    }
    assert "identifies the image: in part (by tpm.pcr04, tpm.pcr12; not in it: tpm.pcr11)\n" in said.err


@pytest.mark.parametrize("form", ["in-toto", "corim"])
def test_signatures_are_checked_with_the_public_key(
    form: str, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.pub", tmp_path / "bad.pub"
    good.write_bytes(public_pem("p384"))
    bad.write_bytes(public_pem("p384", 1))
    output = tmp_path / "signed"
    source = write(tmp_path / "m.json", snp_set())
    assert run(["refvalues", "export", source, "--to", form, "--key", key, "-o", str(output)]) == 0
    assert run(["refvalues", "show", str(output), "--key", str(good)]) == 0
    assert f"form: {form}\n" in capsys.readouterr().out
    assert run(["refvalues", "show", str(output), "--key", str(bad)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "error[PVB666]" in said.err
    assert run(["refvalues", "show", str(output), "--key", key]) == 2
    assert "error[PVB665]" in capsys.readouterr().err


@pytest.mark.parametrize(("form", "code"), [("in-toto", "PVB663"), ("corim", "PVB664"), ("caa-json", "PVB665")])
def test_what_is_not_signed_cannot_be_checked(
    form: str, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    public, output = tmp_path / "key.pub", tmp_path / "unsigned"
    public.write_bytes(public_pem("ed25519"))
    source = write(tmp_path / "m.json", tpm_set())
    assert run(["refvalues", "export", source, "--to", form, "-o", str(output)]) == 0
    capsys.readouterr()
    assert run(["refvalues", "show", str(output), "--key", str(public)]) == 2
    assert f"error[{code}]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "option"),
    [
        ("rvps-sample", "--key=k"),
        ("rvps-sample", "--boot=disk"),
        ("rvps-sample", "--namespace=a"),
        ("rvps-message", "--uri-tag=a"),
        ("rego", "--name=a"),
        ("caa-json", "--trustee=0.21"),
        ("caa-json", "--policy=default"),
        ("caa-json", "--key=k"),
        ("kms-condition", "--fact=snp_tee=1"),
        ("in-toto", "--author-key=k"),
        ("corim", "--product=Milan"),
        ("corim-intel", "--evidence=tdx"),
        ("ita", "--personalization=00"),
        ("maa", "--use-rvps"),
    ],
)
def test_an_option_that_a_form_does_not_heed_is_refused(
    form: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "m.json", tpm_set())
    assert run(["refvalues", "export", source, "--to", form, option]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"`{option.partition('=')[0]}` says nothing of `--to {form}`" in said.err


def test_every_form_names_options_that_exist() -> None:
    from podvm_builder.cli.refvalues_export import command

    names = {parameter.name for parameter in command.params}
    for one in FORMATS.values():
        assert one.heeds <= names, one.name
