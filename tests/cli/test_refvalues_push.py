"""`refvalues push` against verifiers on loopback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from podvm_builder.cli.app import run
from podvm_builder.formats.documents import measurements_to_json
from podvm_builder.model.measurement import MeasurementSet
from tests.support.measurement_sets import measurement_set, predicted, snp_set, tdx_set
from tests.support.verifiers import bearer, kbs, rvps


def write(path: Path, measurements: MeasurementSet) -> str:
    path.write_text(json.dumps(measurements_to_json(measurements)), encoding="utf-8")
    return str(path)


def other_tdx_set() -> MeasurementSet:
    return measurement_set(
        "tdx",
        predicted("tdx.mrtd", b"\x01" * 48),
        predicted("tdx.rtmr1", b"\x0c" * 48, boot="disk"),
        predicted("tdx.rtmr2", b"\x0d" * 48, boot="disk"),
        by=("tdx.rtmr1", "tdx.rtmr2"),
    )


def test_twice_and_the_second_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write(tmp_path / "a.json", tdx_set())
    with kbs() as running:
        arguments = ["refvalues", "push", image, "--url", running.url]
        assert run([*arguments, "--dry-run"]) == 0
        assert f"{running.url}\n  rtmr_1: 1 value\n    + {'02' * 48}\n" in (said := capsys.readouterr().out)
        assert said.endswith("nothing was written: this is a dry run\n")
        assert running.rvps.values == {}
        assert run(arguments) == 0
        assert capsys.readouterr().out.endswith("written, read back, and as it should be\n")
        assert run(arguments) == 0
        said = capsys.readouterr().out
        assert "  mr_td: 1 value, as they are\n" in said
        assert said.endswith("nothing to change\n")
        assert running.rvps.registrations == 1


def test_several_images_pass_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [write(tmp_path / "a.json", tdx_set()), write(tmp_path / "b.json", other_tdx_set())]
    with rvps() as (model, url):
        assert run(["refvalues", "push", *images, "--url", url, "--format", "json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["changed"]
        assert said["where"] == url
        assert [one["name"] for one in said["names"]] == ["rtmr_1", "rtmr_2", "mr_td"]
        assert said["names"][0] == {
            "name": "rtmr_1",
            "changed": True,
            "added": ["02" * 48, "0c" * 48],
            "removed": [],
            "after": ["02" * 48, "0c" * 48],
        }
        assert model.values["mr_td"] == ["01" * 48]


def test_a_test_image_needs_leave(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write(tmp_path / "a.json", snp_set(flags=("selftest", "debug")))
    with kbs() as running:
        arguments = ["refvalues", "push", image, "--url", running.url]
        assert run(arguments) == 1
        assert "error[PVB608]" in (said := capsys.readouterr().err)
        assert "--allow-selftest --allow-debug" in said
        assert run([*arguments, "--allow-selftest"]) == 1
        assert "--allow-debug" in capsys.readouterr().err
        assert running.requests == []
        assert run([*arguments, "--allow-selftest", "--allow-debug"]) == 0
        assert "caution: " in capsys.readouterr().err


def test_a_token_comes_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write(tmp_path / "a.json", snp_set())
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("eyJ.abc.def\n", encoding="ascii")
    bad.write_text("eyJ.abc.xyz\n", encoding="ascii")
    with kbs(bearer("eyJ.abc.def")) as running:
        arguments = ["refvalues", "push", image, "--url", running.url]
        assert run([*arguments, "--admin-token", str(bad)]) == 5
        said = capsys.readouterr()
        assert "error[PVB652]" in said.err
        assert "eyJ" not in said.err + said.out
        assert run([*arguments, "--admin-token", str(good)]) == 0


def test_a_key_signs_for_older_versions_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write(tmp_path / "a.json", snp_set())
    key = tmp_path / "key.pem"
    private = Ed25519PrivateKey.generate()
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def signed(header: str | None) -> bool:
        return header is not None and header.startswith("Bearer ey") and header.count(".") == 2

    with kbs(signed) as running:
        arguments = ["refvalues", "push", image, "--url", running.url, "--admin-key", str(key)]
        assert run(arguments) == 2
        assert "error[PVB657]" in capsys.readouterr().err
        assert run([*arguments, "--trustee", "0.20"]) == 0
        assert run([*arguments, "--trustee", "0.20", "--admin-token", str(key)]) == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--url", "http://kbs.example.org"], "PVB656"),
        (["--url", "kbs.example.org"], "PVB656"),
        (["--url", "http://127.0.0.1", "--replace", "mr_td"], "PVB659"),
        (["--url", "http://127.0.0.1", "--ca-file", "/nonexistent"], "PVB320"),
        (["--url", "http://127.0.0.1", "--admin-token", "/nonexistent"], "PVB320"),
        (["--url", "http://127.0.0.1", "--timeout", "0"], "PVB100"),
        ([], "PVB100"),
    ],
)
def test_bad_options_exit_2(
    arguments: list[str], code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["refvalues", "push", write(tmp_path / "a.json", snp_set()), *arguments]) == 2
    assert f"error[{code}]" in capsys.readouterr().err


def test_another_scalar_is_refused_unless_it_is_to_be_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write(tmp_path / "a.json", snp_set())
    with kbs() as running:
        running.rvps.values = {"snp_launch_measurement": "ff" * 48}
        arguments = ["refvalues", "push", image, "--url", running.url]
        assert run(arguments) == 1
        assert "error[PVB651]" in capsys.readouterr().err
        assert run([*arguments, "--replace", "snp_launch_measurement"]) == 0
        assert running.rvps.values == {"snp_launch_measurement": ["0a" * 48, "0b" * 48]}


def test_a_failure_half_way_exits_5_and_says_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write(tmp_path / "a.json", tdx_set())
    with kbs() as running:
        running.rvps.trouble.stop_after = 1
        assert run(["refvalues", "push", image, "--url", running.url]) == 5
        said = capsys.readouterr()
        assert said.out == ""
        assert "error[PVB654]" in said.err
        assert "written: `rtmr_1`; not written: `rtmr_2`, `mr_td`" in said.err


def test_a_flag_in_a_name_that_stands_twice_does_not_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write(tmp_path / "a.json", snp_set())
    text = Path(image).read_text(encoding="utf-8")
    Path(image).write_text(text.replace('"flags"', '"flags": ["selftest"], "flags"', 1), encoding="utf-8")
    assert run(["refvalues", "push", image, "--manifest", str(tmp_path / "m.yaml")]) == 2
    assert "error[PVB202]" in (said := capsys.readouterr().err)
    assert "`flags` twice" in said
    assert not (tmp_path / "m.yaml").exists()


def test_values_of_a_name_that_stands_twice_are_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "values.json"
    file.write_text('{"mr_td": ["aa"], "mr_td": ["bb"]}', encoding="utf-8")
    assert run(["refvalues", "show", str(file)]) == 2
    assert "error[PVB607]" in capsys.readouterr().err


def test_a_name_of_another_configmap_is_not_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, manifest = write(tmp_path / "a.json", tdx_set()), str(tmp_path / "m.yaml")
    push = ["refvalues", "push", image, "--manifest", manifest]
    assert run([*push, "--name", "one"]) == 0
    assert run([*push, "--name", "one"]) == 0
    assert run(push) == 0
    capsys.readouterr()
    assert run([*push, "--name", "two"]) == 2
    assert "error[PVB605]" in capsys.readouterr().err


def test_a_token_that_everybody_can_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, token = write(tmp_path / "a.json", tdx_set()), tmp_path / "token"
    token.write_text("abc.def.ghi\n", encoding="ascii")
    with kbs() as running:
        push = ["refvalues", "push", image, "--url", running.url, "--admin-token", str(token), "--dry-run"]
        token.chmod(0o644)
        run(push)
        said = capsys.readouterr().err
        assert f"caution: every user of this machine can read `{token}`" in said
        assert "abc.def" not in said
        token.chmod(0o640)
        run(push)
        assert "caution" not in capsys.readouterr().err


def test_a_folder_that_is_not_ours_is_not_read_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podvm_builder.cli.refvalues_show._MAX_FILES", 2)
    for name in "abc":
        (tmp_path / name).write_bytes(b"{}")
    assert run(["refvalues", "show", str(tmp_path)]) == 2
    assert "error[PVB607]: the folder has more than 2 files" in capsys.readouterr().err


def test_a_time_that_is_past_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write(tmp_path / "a.json", tdx_set())
    for command in (["push", image, "--manifest", str(tmp_path / "m.yaml")], ["export", image, "--to", "local-json"]):
        assert run(["refvalues", *command, "--expires", "2020-01-01T00:00:00Z"]) == 0
        assert "caution: `--expires 2020-01-01T00:00:00Z` is past" in capsys.readouterr().err
        assert run(["refvalues", *command, "--expires", "2099-01-01T00:00:00Z"]) == 0
        assert "is past" not in capsys.readouterr().err
