"""``measure snp`` with SVSM and IGVM, ``measure sev`` and ``measure id-block`` as users run them."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from podvm_builder.cli.app import run
from podvm_builder.formats.documents import measurements_from_json
from podvm_builder.formats.id_block import decode_id_auth, decode_id_block, key_digest
from podvm_builder.measure.id_block import verify_id_block
from podvm_builder.measure.igvm import igvm_launch_digest
from podvm_builder.measure.inputs import Cpu
from podvm_builder.measure.sev import sev_es_launch_digest, sev_launch_digest
from podvm_builder.measure.snp import launch_digest
from podvm_builder.measure.svsm import place_svsm
from tests.support import firmware as fw
from tests.support import igvm

SMALL = fw.Firmware(size=64 << 10, unique_pages=4)
SVSM = fw.Firmware(size=32 << 10, reset=None, with_tdx=False, extra=((fw.SVSM_INFO, struct.pack("<I", 16)),))
CPU = Cpu.parse("EPYC-v4")
DIGEST = "ab" * 48


def document(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert run(["measure", *map(str, arguments), "--format", "json"]) == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    return written(tmp_path / "OVMF.fd", SMALL.build())


@pytest.fixture
def key(tmp_path: Path) -> Path:
    private = ec.derive_private_key(12345, ec.SECP384R1())
    return written(tmp_path / "id.pem", private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_a_cpu_by_family_model_and_stepping(capsys: pytest.CaptureFixture[str], firmware: Path) -> None:
    models = ("25/1/1", "25/17/0", "26/0/0", "EPYC-Milan", "EPYC-Genoa", "EPYC-Turin")
    options = [word for model in models for word in ("--cpu", model)]
    found = document(capsys, "snp", "--firmware", firmware, *options)
    by_cpu = {m["variant"]["cpu"]: m["value"] for m in found["measurements"]}
    assert tuple(by_cpu) == models
    assert [by_cpu[model] for model in models[:3]] == [by_cpu[model] for model in models[3:]]
    assert len(set(by_cpu.values())) == 3


def test_an_svsm(capsys: pytest.CaptureFixture[str], firmware: Path, tmp_path: Path) -> None:
    svsm = written(tmp_path / "svsm.bin", SVSM.build())
    found = document(capsys, "snp", "--firmware", firmware, "--svsm", svsm, "--vars-size", 0x84000)
    placed = place_svsm(SVSM.build(), SMALL.build(), vars_size=0x84000)
    (measurement,) = found["measurements"]
    assert measurement["value"] == launch_digest(SMALL.build(), cpu=CPU, svsm=placed).hex()
    assert measurement["variant"]["vars_size"] == 0x84000


def test_an_igvm_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = written(tmp_path / "coconut.igvm", igvm.example().build())
    found = document(capsys, "snp", "--igvm", path, "--check-kvm")
    assert measurements_from_json(found).identifies_image.value is False
    (measurement,) = found["measurements"]
    assert measurement["value"] == igvm_launch_digest(path.read_bytes()).hex()
    assert measurement["from"]["regions"] in found["regions"]
    native = document(capsys, "snp", "--igvm", path, "--native-zero")["measurements"][0]
    assert native["value"] == igvm_launch_digest(path.read_bytes(), native_zero=True).hex()
    assert native["variant"] != measurement["variant"]


def test_explaining(capsys: pytest.CaptureFixture[str], firmware: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "x.igvm", igvm.example().build())
    assert run(["measure", "snp", "--igvm", str(path), "--explain", "snp.launch_digest"]) == 0
    assert "VMSA of vCPU 0" in capsys.readouterr().out
    assert run(["measure", "sev", "--firmware", str(firmware), "--explain", "sev-es.launch_digest"]) == 0
    assert "VMSA of the first vCPU" in capsys.readouterr().out


def test_an_igvm_file_that_kvm_measures_otherwise(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = written(tmp_path / "x.igvm", igvm.example().context(igvm.vmsa(), index=1).build())
    assert run(["measure", "snp", "--igvm", str(path)]) == 0
    capsys.readouterr()
    assert run(["measure", "snp", "--igvm", str(path), "--check-kvm"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error[PVB237]: ")


def test_sev_and_sev_es(capsys: pytest.CaptureFixture[str], firmware: Path, tmp_path: Path) -> None:
    found = document(capsys, "sev", "--firmware", firmware, "--vcpus", "1,4")
    assert measurements_from_json(found).evidence == ""
    image = SMALL.build()
    assert [(m["register"], m["value"]) for m in found["measurements"]] == [
        ("sev.launch_digest", sev_launch_digest(image).hex()),
        ("sev-es.launch_digest", sev_es_launch_digest(image, cpu=CPU, vcpus=1).hex()),
        ("sev-es.launch_digest", sev_es_launch_digest(image, cpu=CPU, vcpus=4).hex()),
    ]
    kernel = written(tmp_path / "uki.efi", b"MZ")
    found = document(capsys, "sev", "--firmware", firmware, "--mode", "sev", "--kernel", kernel)
    assert found["identifies_image"]["by"] == ["sev.launch_digest"]
    assert run(["measure", "sev", "--firmware", str(firmware)]) == 0
    out = capsys.readouterr().out
    assert sev_launch_digest(image).hex() in out
    assert sev_es_launch_digest(image, cpu=CPU).hex() in out


def test_an_id_block(capsys: pytest.CaptureFixture[str], key: Path, tmp_path: Path) -> None:
    arguments = ("id-block", "--launch-digest", DIGEST, "--id-key", key, "--author-key", key, "--guest-svn", "7")
    out = tmp_path / "new" / "folder"
    found = document(capsys, *arguments, "--family-id", "01" * 16, "--policy", "0xb0000", "-o", out)
    block = decode_id_block(base64.b64decode(found["id_block"]))
    auth = decode_id_auth(base64.b64decode(found["id_auth"]))
    assert (block.launch_digest.hex(), block.guest_svn, block.policy) == (DIGEST, 7, 0xB0000)
    assert verify_id_block(block, auth)
    assert found["id_key_digest"] == found["author_key_digest"] == key_digest(auth.id_key).hex()
    assert decode_id_block((out / "id-block.bin").read_bytes()) == block
    assert decode_id_auth((out / "id-auth.bin").read_bytes()) == auth
    assert sorted(path.name for path in out.iterdir()) == ["id-auth.bin", "id-block.bin"]


def test_an_id_block_as_text(capsys: pytest.CaptureFixture[str], key: Path) -> None:
    command = ["measure", "id-block", "--launch-digest", DIGEST, "--id-key", str(key)]
    assert run(command) == 0
    first = capsys.readouterr().out
    assert run(command) == 0
    assert capsys.readouterr().out == first
    lines = dict(line.split("=", 1) for line in first.splitlines())
    assert lines["launch_digest"] == DIGEST
    assert lines["author_key_digest"] == "-"
    assert run([*command, "--random-nonces"]) == 0
    assert capsys.readouterr().out != first


def test_no_part_of_a_private_key_is_printed(capsys: pytest.CaptureFixture[str], key: Path) -> None:
    secret = (12345).to_bytes(48, "big")
    assert run(["measure", "id-block", "--launch-digest", DIGEST, "--id-key", str(key)]) == 0
    key.write_bytes(key.read_bytes().replace(b"M", b"N"))
    run(["measure", "id-block", "--launch-digest", DIGEST, "--id-key", str(key)])
    captured = capsys.readouterr()
    for shown in (secret.hex(), base64.b64encode(secret).decode(), *key.read_text().splitlines()[1:2]):
        assert shown not in captured.out + captured.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("snp", "PVB100"),
        ("snp --firmware FW --check-kvm", "PVB236"),
        ("snp --firmware FW --native-zero", "PVB236"),
        ("snp --igvm FW --vcpus 4", "PVB236"),
        ("snp --igvm FW --firmware FW", "PVB236"),
        ("snp --igvm FW", "PVB236"),
        ("snp --igvm ABSENT", "PVB320"),
        ("snp --firmware FW --svsm FW", "PVB238"),
        ("snp --firmware FW --svsm FW --vars-size 4096", "PVB238"),
        ("snp --firmware FW --vars-size 4096", "PVB238"),
        ("snp --firmware FW --svsm ABSENT --vars-size 0", "PVB320"),
        ("snp --firmware FW --cpu 25/1", "PVB228"),
        ("snp --firmware FW --cpu 25/1/16", "PVB228"),
        ("sev --firmware FW --vcpus 0", "PVB227"),
        ("sev --firmware FW --guest-features 0x1", "PVB230"),
        ("sev --firmware FW --vmm gce", "PVB229"),
        ("sev --firmware FW --append quiet", "PVB232"),
        ("sev --firmware ABSENT", "PVB320"),
        ("sev --firmware KEY", "PVB220"),
        ("id-block --launch-digest 00 --id-key KEY", "PVB239"),
        ("id-block --launch-digest DIGEST --id-key FW", "PVB239"),
        ("id-block --launch-digest DIGEST --id-key ABSENT", "PVB320"),
        ("id-block --launch-digest DIGEST --id-key KEY --guest-svn 4294967296", "PVB239"),
        ("id-block --launch-digest DIGEST --id-key KEY --guest-svn x", "PVB239"),
        ("id-block --launch-digest DIGEST --id-key KEY --policy 0", "PVB239"),
        ("id-block --launch-digest DIGEST --id-key KEY --family-id zz", "PVB239"),
    ],
)
def test_what_is_refused(
    capsys: pytest.CaptureFixture[str], firmware: Path, key: Path, arguments: str, code: str
) -> None:
    names = {"FW": str(firmware), "KEY": str(key), "DIGEST": DIGEST, "ABSENT": str(key.parent / "absent")}
    assert run(["measure", *(names.get(word, word) for word in arguments.split())]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error[{code}]: ")
    assert "Traceback" not in captured.err
