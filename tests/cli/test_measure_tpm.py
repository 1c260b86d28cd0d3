"""``measure tpm`` with keys and other formats, ``--explain``, ``measure diff`` and ``eventlog`` as a user runs them."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from podvm_builder.cli.app import run
from podvm_builder.formats.efi_siglist import X509, encode_signature_list
from podvm_builder.formats.eventlog import EventLog, LogEvent, encode_event_log
from podvm_builder.formats.varstore import GLOBAL, SECURITY
from tests.support.disk import ESP, build_disk, build_fat
from tests.support.manifests import QEMU, build, evidence, write_folder
from tests.support.pe import build_uki
from tests.support.signing import sign, signer
from tests.support.varstore import Variable, build_store
from tests.unit.test_secure_boot import OWNER

OWN = "own-boots"


def _list(name: str) -> bytes:
    return encode_signature_list(X509, OWNER, signer(name).der)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    uki = sign(build_uki(), signer("leaf", "ca"))
    (tmp_path / "uki.efi").write_bytes(uki)
    (tmp_path / "plain.efi").write_bytes(build_uki())
    (tmp_path / "disk.raw").write_bytes(
        build_disk([(ESP, build_fat({"EFI/BOOT/BOOTX64.EFI": uki}, bits=12, cluster=8))])
    )
    variables = [Variable(GLOBAL, "PK", _list("pk")), Variable(GLOBAL, "KEK", _list("kek"))]
    variables.append(Variable(SECURITY, "db", _list("ca")))
    (tmp_path / "vars.fd").write_bytes(build_store(variables))
    (tmp_path / "empty.fd").write_bytes(build_store([]))
    for name in ("pk", "kek", "ca"):
        (tmp_path / f"{name}.esl").write_bytes(_list(name))
        (tmp_path / f"{name}.der").write_bytes(signer(name).der)
    text = base64.encodebytes(signer("ca").der).decode()
    (tmp_path / "ca.crt").write_text(f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n")
    return tmp_path


def _json(args: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> Any:
    assert run([*args, "--format", "json"]) == code
    return json.loads(capsys.readouterr().out)


def _pcr7(args: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    rows = _json(["measure", "tpm", "--uki", "uki.efi", "--bank", "sha256", *args], capsys)["measurements"]
    (row,) = (row for row in rows if row["register"] == "tpm.pcr07")
    return dict(row)


def test_every_way_to_give_the_same_keys(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = _pcr7(["--vars", "vars.fd"], capsys)
    assert (stored["status"], stored["variant"]["secure_boot"]) == ("predicted", "on")
    lists = ["--pk", "pk.esl", "--kek", "kek.esl", "--db", "ca.esl"]
    assert _pcr7(lists, capsys)["value"] == stored["value"]
    certificates = ["--pk", "pk.der", "--kek", "kek.der", "--db", "ca.crt", "--owner", str(OWNER)]
    assert _pcr7(certificates, capsys)["value"] == stored["value"]
    assert _pcr7(["--vars", "empty.fd"], capsys)["variant"]["secure_boot"] == "off"


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--vars", "vars.fd", "--db", "ca.esl"], "PVB246"),
        (["--vars", "vars.fd", "--secure-boot", "off"], "PVB246"),
        (["--vars", "empty.fd", "--secure-boot", "on"], "PVB246"),
        (["--secure-boot", "on"], "PVB246"),
        (["--db", "ca.esl"], "PVB246"),
        (["--pk", "pk.esl", "--db", "ca.crt"], "PVB246"),
        (["--pk", "pk.esl", "--db", "ca.crt", "--owner", "me"], "PVB246"),
        (["--owner", str(OWNER)], "PVB246"),
        (["--pk", "pk.esl", "--secure-boot", "absent"], "PVB246"),
        (["--pk", "uki.efi", "--db", "ca.esl"], "PVB250"),
        (["--vars", "uki.efi"], "PVB251"),
        (["--vars", "missing"], "PVB320"),
    ],
)
def test_bad_keys(place: Path, args: list[str], code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure", "tpm", "--uki", "uki.efi", *args]) == 2
    assert f"error[{code}]" in capsys.readouterr().err


def test_an_unsigned_uki_has_no_values(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure", "tpm", "--uki", "plain.efi", "--vars", "vars.fd"]) == 0
    assert "does not start the UKI: it is not signed" in capsys.readouterr().out


def test_a_damaged_qcow2_image(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "disk.qcow2").write_bytes(b"QFI\xfb" + bytes(600))
    assert run(["measure", "tpm", "--image", "disk.qcow2"]) == 2
    assert "error[PVB258]" in capsys.readouterr().err


def test_explain(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = _json(["measure", "tpm", "--image", "disk.raw", "--bank", "sha256", "--explain", "pcr4"], capsys)
    assert [event["subject"] for event in found["events"]] == [
        "call of the boot option",
        "separator",
        "UKI",
        "kernel in section .linux",
    ]
    assert found["events"][-1]["value"] == found["value"]
    assert run(["measure", "tpm", "--uki", "uki.efi", "--bank", "sha1", "--phase", "x", "--explain", "11"]) == 0
    assert "phase x (systemd-pcrphase)" in capsys.readouterr().out
    assert run(["measure", "tpm", "--uki", "uki.efi", "--explain", "tpm.pcr99"]) == 2
    assert "error[PVB259]" in capsys.readouterr().err
    # a register without a value shows what is known to extend it
    (found,) = _json(["measure", "tpm", "--uki", "uki.efi", "--bank", "sha1", "--explain", "5"], capsys)
    assert (found["status"], len(found["events"])) == ("not-computed", 3)


def test_diff_of_two_images(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "other.efi").write_bytes(build_uki(cmdline=b"quiet other"))
    found = _json(["measure", "diff", "plain.efi", "other.efi"], capsys, code=1)
    by_register = {(row["register"], row["alg"]): row for row in found["registers"]}
    assert {register for register, _ in by_register} == {"tpm.pcr04", "tpm.pcr09", "tpm.pcr11"}
    assert by_register["tpm.pcr04", "sha1"]["causes"] == ["section .cmdline"]
    first = by_register["tpm.pcr11", "sha256"]["first"]
    assert (first["left"], first["index"]) == ("section .cmdline", 5)
    assert run(["measure", "diff", "plain.efi", "plain.efi"]) == 0
    assert "all registers are the same" in capsys.readouterr().out
    assert run(["measure", "diff", "plain.efi", "other.efi"]) == 1
    assert "by      section .cmdline" in capsys.readouterr().out


def test_diff_of_two_folders_and_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        write_folder(folder, *build("debian-13/snp/libvirt", QEMU, evidence("snp", "snp.launch_digest")))
        assert run(["measure", "image", str(folder), "--cache", str(tmp_path / "cache"), "--format", "json"]) == 0
        (folder / "measurements.json").write_text(capsys.readouterr().out, encoding="utf-8")
    a, b = tmp_path / "a", tmp_path / "b"
    assert _json(["measure", "diff", str(a), str(b)], capsys) == {"equal": True, "registers": [], "inputs": []}
    manifest = json.loads((b / "manifest.json").read_text())
    manifest["packages"] = [{"name": "new", "version": "1", "arch": "amd64"}]
    (b / "manifest.json").write_text(json.dumps(manifest))
    document = json.loads((b / "measurements.json").read_text())
    for row in document["measurements"]:
        if row["register"] == "tpm.pcr04" and row["value"]:
            row["variant"]["secure_boot"] = "off"
            row["value"] = "00" * (len(row["value"]) // 2)
    (b / "measurements.json").write_text(json.dumps(document))
    found = _json(["measure", "diff", str(a), str(b)], capsys, code=1)
    assert {"kind": "package", "name": "new:amd64", "left": None, "right": "1"} in found["inputs"]
    moved = [row for row in found["registers"] if row["register"] == "tpm.pcr04"]
    assert all(row["kind"] in ("moved", "only-left", "only-right") for row in moved)
    assert run(["measure", "diff", str(a), str(tmp_path / "b" / "measurements.json")]) == 1
    (b / "measurements.json").unlink()
    assert run(["measure", "diff", str(a), str(b)]) == 2
    assert "error[PVB260]" in capsys.readouterr().err


# --- eventlog


def test_replay(own_vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = own_vectors / OWN / "257nosb"
    found = _json(["eventlog", "replay", str(folder / "eventlog.bin")], capsys)
    pcrs = json.loads((folder / "pcrs.json").read_text())
    values = {(row["register"], row["alg"]): row["value"] for row in found["registers"]}
    for bank in ("sha1", "sha256", "sha384"):
        for pcr in (0, 1, 4, 5, 7, 9, 11):
            assert values[f"tpm.pcr{pcr:02d}", bank] == pcrs[bank][str(pcr)].lower()
    assert (found["kind"], found["findings"]) == ("tpm", [])
    assert {"offset", "register", "kind", "digests", "description", "data"} == set(found["events"][0])
    assert run(["eventlog", "replay", str(folder / "eventlog.bin")]) == 0
    assert f"tpm.pcr04  sha256  {values['tpm.pcr04', 'sha256']}" in capsys.readouterr().out


def test_replay_of_a_trust_domain(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(["eventlog", "replay", str(vectors / "tdx" / "ccel-cos-113.bin")], capsys)
    assert found["kind"] == "ccel"
    values = {row["register"]: row["value"] for row in found["registers"]}
    assert values["tdx.rtmr0"].startswith("3fa2f61f395b7f5f")
    twice = vectors / "negative" / "ccel-cos-113-dupe-separator-unpadded.bin"
    assert "second separator" in _json(["eventlog", "replay", str(twice)], capsys, code=1)["findings"][0]["message"]
    forced = _json(["eventlog", "replay", str(vectors / "tdx" / "ccel-cos-113.bin"), "--kind", "tpm"], capsys)
    assert {row["register"] for row in forced["registers"]} <= {f"tpm.pcr{index:02d}" for index in range(5)}


def test_show(own_vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = str(own_vectors / OWN / "262sb" / "eventlog.bin")
    assert run(["eventlog", "show", log]) == 0
    out = capsys.readouterr().out
    for text in (
        r"image \EFI\BOOT\BOOTX64.EFI",
        "variable SecureBoot (8be4df61-93ca-11d2-aa0d-00e098032b8c): 01",
        "partition table of disk 11111111-2222-3333-4444-555555555555, 1 partitions",
        "tag 0x8f3b22ec: Linux initrd",
        "EV_IPL  .cmdline",
        "Calling EFI Application from Boot Option",
    ):
        assert text in out
    assert len(_json(["eventlog", "show", log], capsys)["events"]) > 30


def test_diff_of_logs(own_vectors: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (str(own_vectors / OWN / name / "eventlog.bin") for name in ("257nosb", "262nosb"))
    found = {row["register"]: row for row in _json(["eventlog", "diff", one, other], capsys, code=1)}
    assert found["tpm.pcr04"]["index"] == 2
    assert found["tpm.pcr11"]["left"]["description"] == ".sbat"
    assert run(["eventlog", "diff", one, one]) == 0
    assert "the logs agree" in capsys.readouterr().out
    assert run(["measure", "tpm", "--image", "disk.raw", "--format", "json"]) == 0
    (place / "measurements.json").write_text(capsys.readouterr().out)
    found = {row["register"]: row for row in _json(["eventlog", "diff", "measurements.json", one], capsys, code=1)}
    assert "tpm.pcr00" not in found
    assert "tpm.pcr07" not in found  # neither has secure boot compiled in
    assert found["tpm.pcr04"]["left"]["description"] == "UKI"
    assert run(["eventlog", "diff", "measurements.json", one, "--log", "direct"]) == 2
    assert "error[PVB260]" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"x", bytes(31), b"\xff" * 64, b"{", b"[1]"])
@pytest.mark.parametrize("command", ["show", "replay", "diff"])
def test_no_log(place: Path, command: str, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "log").write_bytes(content)
    assert run(["eventlog", command, "log", *(["log"] if command == "diff" else [])]) in (0, 1, 2)
    if not content:
        assert "error[PVB244]" in capsys.readouterr().err


def test_the_bank_of_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digests = {name: hashlib.new(name, b"x").digest() for name in ("sha1", "sha256")}
    event = LogEvent(index=4, kind=0x0D, digests=digests, data=b"x")
    log = tmp_path / "log"
    log.write_bytes(encode_event_log(EventLog(crypto_agile=True, algorithms=("sha1", "sha256"), events=(event,))))
    (shown,) = _json(["eventlog", "show", str(log)], capsys)["events"]
    assert list(shown["digests"]) == ["sha1", "sha256"]
    (shown,) = _json(["eventlog", "show", str(log), "--bank", "sha1"], capsys)["events"]
    assert shown["digests"] == {"sha1": digests["sha1"].hex()}
    assert run(["eventlog", "show", str(log), "--bank", "sha1"]) == 0
    assert f"sha1 {digests['sha1'].hex()}" in capsys.readouterr().out
    for form in ("text", "json"):
        assert run(["eventlog", "show", str(log), "--bank", "sha384", "--format", form]) == 2
        assert "has no bank `sha384`\nhint: its banks are sha1, sha256" in capsys.readouterr().err
