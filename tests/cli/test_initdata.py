"""The commands about initdata, on files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podvm_builder.cli.app import run
from podvm_builder.formats.initdata import read_initdata

PROFILE = """\
schema: 1
distro: debian-13
tee: snp
cloud: [azure, libvirt]
guest: {aa: aa.toml, cdh: cdh.toml, bake: [cdh]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "acme.yaml").write_text(PROFILE)
    (tmp_path / "aa.toml").write_text('[token_configs.kbs]\nurl = "http://10.0.0.1:8080"\n')
    (tmp_path / "cdh.toml").write_text('[kbc]\nname = "cc_kbc"\nurl = "http://10.0.0.1:8080"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_make_writes_what_encode_and_decode_agree_on(folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["initdata", "make", "acme.yaml", "-o", "out", "--format", "json"]) == 0
    document = json.loads(capsysbinary.readouterr().out)
    toml = (folder / "out/initdata.toml").read_bytes()
    text = (folder / "out/initdata.b64").read_bytes()
    assert list(read_initdata(text).data) == ["aa.toml"] == document["data"]
    assert run(["initdata", "decode", "out/initdata.b64"]) == 0
    assert capsysbinary.readouterr().out == toml
    assert run(["initdata", "encode", "out/initdata.toml"]) == 0
    assert capsysbinary.readouterr().out == text
    assert text.strip() in (folder / "out/user-data").read_bytes()
    assert run(["measure", "initdata", "out/user-data"]) == 2
    assert run(["measure", "initdata", "out/initdata.b64", "--format", "json"]) == 0
    assert json.loads(capsysbinary.readouterr().out)["bindings"] == document["bindings"]


def test_a_baked_document_is_in_the_recipe_and_another_root(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["render", "acme.yaml", "-o", "recipe"]) == 0
    extra = folder / "recipe/debian-13-snp-libvirt/mkosi.extra"
    assert (extra / "etc/podvm/cdh.toml").read_bytes() == (folder / "cdh.toml").read_bytes()
    assert not (extra / "etc/podvm/aa.toml").exists()
    assert "settle-config" in (extra / "etc/systemd/system/process-user-data.service.d/10-baked.conf").read_text()
    roots = []
    for url in ("10.0.0.1", "10.0.0.2"):
        (folder / "cdh.toml").write_text(f'[kbc]\nname = "cc_kbc"\nurl = "http://{url}:8080"\n')
        capsys.readouterr()
        assert run(["plan", "acme.yaml", "--format", "json"]) == 0
        roots.append({plan["ids"]["rootfs"] for plan in json.loads(capsys.readouterr().out)})
    assert len(roots[0]) == len(roots[1]) == 1 and roots[0] != roots[1]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("aa.toml", None, "PVB124"),
        ("aa.toml", "", "PVB124"),
        ("aa.toml", "urll = 1\n", "PVB418"),
        ("cdh.toml", "-----BEGIN PRIVATE KEY-----\n", "PVB419"),
    ],
)
def test_documents_that_will_not_do(
    folder: Path, name: str, content: str | None, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    assert run(["initdata", "make", "acme.yaml", "-o", "out"]) == 2
    assert code in capsys.readouterr().err
    assert not (folder / "out").exists()
