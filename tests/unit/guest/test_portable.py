"""The payload alone: nothing of an image's own, a script that sets it up, and the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from podvm_builder.formats.archives import image_layout, tar
from podvm_builder.guest.components import selftest
from podvm_builder.guest.payload import payload
from podvm_builder.guest.portable import PROGRAMS, portable
from tests.support.plans import selftest_plan

PLAN = selftest_plan("debian-13/snp/libvirt")
TREE = portable(PLAN, selftest())


def test_the_files_are_those_of_an_image() -> None:
    image = payload(PLAN, selftest())
    ours = {path.removeprefix("podvm/root/"): file for path, file in TREE.items() if path.startswith("podvm/root/")}
    assert ours.items() <= image.items()
    assert {"usr/local/bin/kata-agent", "etc/systemd/system/kata-agent.path", "etc/agent-config.toml"} <= set(ours)


def test_nothing_reaches_the_machine_s_own_units_and_network() -> None:
    assert not [path for path, file in TREE.items() if "/systemd/system/" in path and not file.data]
    assert not [path for path in TREE if "preset" in path or "/systemd/network/" in path or path.endswith("tmp.mount")]
    units = TREE["podvm/units"].data.decode().split()
    assert "process-user-data.service" in units and "attestation-agent.path" in units
    assert not [unit for unit in units if unit.startswith(("systemd-", "dbus"))]


def test_the_same_tree_gives_the_same_tar() -> None:
    one, two = tar(TREE, mtime=7), tar(dict(reversed(TREE.items())), mtime=7)
    assert one == two
    with tarfile.open(fileobj=io.BytesIO(one)) as archive:
        members = archive.getmembers()
        assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 7)}
        read = {m.name: archive.extractfile(m).read() for m in members if m.isfile()}  # type: ignore[union-attr]
    assert read == {path: file.data for path, file in TREE.items()}
    names = [member.name for member in members]
    assert all(name.rpartition("/")[0] in ["", *names[:at]] for at, name in enumerate(names))


def test_the_layout_is_an_image_whose_digests_hold() -> None:
    files = image_layout(b"layer", arch="x86_64", created=1735689600, labels={"a": "b"})
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}

    def blob(descriptor: dict[str, object]) -> bytes:
        algorithm, _, digest = str(descriptor["digest"]).partition(":")
        data = files[f"blobs/{algorithm}/{digest}"]
        assert hashlib.sha256(data).hexdigest() == digest and len(data) == descriptor["size"]
        return data

    (entry,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob(entry))
    assert blob(manifest["layers"][0]) == b"layer"
    config = json.loads(blob(manifest["config"]))
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    assert (config["os"], config["architecture"], config["created"]) == ("linux", "amd64", "2025-01-01T00:00:00Z")


def unpack(folder: Path) -> Path:
    subprocess.run(["tar", "-x", "-C", str(folder)], input=tar(TREE, mtime=0), check=True)
    return folder / "podvm" / "setup.sh"


def stubs(folder: Path) -> dict[str, str]:
    """Make stand-ins of systemd's programs that say what they were asked for."""
    folder.mkdir()
    for name in ("systemctl", "systemd-sysusers", "systemd-tmpfiles"):
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"{folder}/calls"\n')
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_the_script_sets_up_another_root(tmp_path: Path) -> None:
    script, environment, root = unpack(tmp_path), stubs(tmp_path / "stubs"), tmp_path / "machine"
    for program in PROGRAMS:
        (root / "usr/bin").mkdir(parents=True, exist_ok=True)
        (root / "usr/bin" / program).write_text("")
        (root / "usr/bin" / program).chmod(0o755)
    subprocess.run([script, "--root", root], check=True, env=environment)
    for path, file in TREE.items():
        if path.startswith("podvm/root/"):
            placed = root / path.removeprefix("podvm/root/")
            assert placed.read_bytes() == file.data and placed.stat().st_mode & 0o777 == file.mode
    calls = (tmp_path / "stubs/calls").read_text().splitlines()
    enabled = [call.rpartition(" ")[2] for call in calls if " enable " in call]
    assert enabled == TREE["podvm/units"].data.decode().split()
    # nothing of this machine is started or reloaded for another's root
    assert not [call for call in calls if " start " in call or "daemon-reload" in call]


def test_the_script_says_what_a_machine_lacks(tmp_path: Path) -> None:
    script, environment, root = unpack(tmp_path), stubs(tmp_path / "stubs"), tmp_path / "machine"
    root.mkdir()
    done = subprocess.run([script, "--root", root], check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "lacks these programs: bash cryptsetup ip" in done.stderr
    assert list(root.iterdir()) == []


def test_the_script_passes_shellcheck(tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run(["shellcheck", unpack(tmp_path)], check=True)
