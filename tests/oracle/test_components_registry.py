"""Components from a real registry, Debian's: the commands of a user, and no network once the cache is warm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podvm_builder.cli.app import run
from tests.support.registry import real_registry
from tests.support.registry_content import Content, upload
from tests.support.sigstore_ca import Workflow
from tests.support.upstream import KATA_SIGNS, PROGRAMS, Upstream

pytest.importorskip("sigstore", reason="the sigstore library is not installed")
pytest.importorskip("oras", reason="the libraries for registries are not installed")

TARGET = "debian-13/snp/aws"


def test_lock_verify_render(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    upstream = Upstream(Content())

    def podvm(*args: str, code: int = 0) -> str:
        found = run(list(args))
        said = capsys.readouterr()
        assert found == code, said.err
        return said.out

    with real_registry(tmp_path) as host:
        # only now: the registry's program is in the cache of all tests
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        upload(upstream.content, host, tmp_path)
        upstream.write_set(tmp_path, host)
        podvm("components", "lock", "set.yaml", "-o", "components.lock.yaml")
        podvm("components", "lock", "set.yaml", "--check")
        podvm("components", "verify", "components.lock.yaml", "--cache", "cold")
    # the registry is gone
    rows = json.loads(podvm("components", "verify", "components.lock.yaml", "--format", "json"))
    said = {row["name"]: (row["verification"], row["note"]) for row in rows}
    assert said["kata-agent"] == ("verified", f"signed by {KATA_SIGNS.uri}")
    assert said["process-user-data"] == ("verified", f"signed by {Workflow().uri}")
    assert said["pause"] == ("unverified", "has none")
    podvm("render", TARGET, "-o", "recipe", "--components", "components.lock.yaml")
    for name, data in PROGRAMS.items():
        place = "pause_bundle/rootfs" if name == "pause" else "usr/local/bin"
        assert (tmp_path / "recipe" / "mkosi.extra" / place / name).read_bytes() == data
    # another TEE needs another attestation-agent
    podvm("plan", "debian-13/tdx/gcp", "--components", "components.lock.yaml", code=2)
