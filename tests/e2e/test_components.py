"""An image with components from a registry: built with the registry gone; its manifest says where each came from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.registry import real_registry
from tests.support.registry_content import Content, upload
from tests.support.sigstore_ca import Workflow
from tests.support.upstream import AGENTS, PROGRAMS, Upstream

pytest.importorskip("sigstore", reason="the sigstore library is not installed")
pytest.importorskip("oras", reason="the libraries for registries are not installed")
pytestmark = pytest.mark.e2e

TARGET = "debian-13/snp/aws"


def podvm(folder: Path, *args: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "podvm_builder", *args],
        cwd=folder,
        env={**os.environ, "DOCKER_CONFIG": str(folder / "docker")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_a_locked_image_is_built_without_the_registry(tmp_path: Path) -> None:
    upstream = Upstream(Content())
    with real_registry(tmp_path) as host:
        upload(upstream.content, host, tmp_path)
        upstream.write_set(tmp_path, host)
        podvm(tmp_path, "components", "lock", "set.yaml", "-o", "components.lock.yaml")
        podvm(tmp_path, "components", "verify", "components.lock.yaml")
    podvm(tmp_path, "build", TARGET, "-o", "out", "--components", "components.lock.yaml")
    folder = tmp_path / "out" / "debian-13-snp-aws"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["flags"] == ["unverified-components"]
    found = {row["path"]: row for row in manifest["components"]}
    assert len(found) == len(PROGRAMS) + 1
    agent = found[f"/usr/local/bin/{AGENTS[0]}"]
    assert (agent["verification"], agent["note"]) == ("verified", f"signed by {Workflow().uri}")
    assert agent["source"].endswith("/acme/agents:1") and agent["digest"].startswith("sha256:")
    assert found["/pause_bundle/rootfs/pause"]["note"] == "has none"
    assert Workflow().uri in (folder / "report.html").read_text(encoding="utf-8")


def test_a_program_whose_library_the_image_lacks_ends_the_build(tmp_path: Path) -> None:
    from podvm_builder.guest.components import COMPONENTS
    from tests.support.elf import elf_program

    data = elf_program(interpreter="/lib64/ld-linux-x86-64.so.2", needed=["libc.so.6", "libabsent.so.1"])
    (tmp_path / "agents").mkdir()
    for component in COMPONENTS:
        (tmp_path / "agents" / component.name).write_bytes(data)
    said = podvm(tmp_path, "build", TARGET, "-o", "out", "--components", "agents", code=1)
    assert "error[PVB758]" in said and "/usr/local/bin/kata-agent needs libabsent.so.1" in said
    assert "libc.so.6" not in said and not (tmp_path / "out" / "debian-13-snp-aws").exists()
