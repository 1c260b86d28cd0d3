"""Variants and features: what each adds, that they compose, and that production stays closed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from podvm_builder.errors import InputErrors
from podvm_builder.formats.unit_file import parse_unit
from podvm_builder.guest.components import selftest
from podvm_builder.guest.files import template_files
from podvm_builder.guest.payload import payload
from podvm_builder.model.plan import Plan
from podvm_builder.model.recipe import RecipeTree
from podvm_builder.planning.identity import rootfs_fields
from tests.support.plans import selftest_plan

KEY = "guest.ssh_key=id.pub"


def tree(plan: Plan) -> RecipeTree:
    return payload(plan, selftest())


def test_production_has_nothing_to_log_in_with() -> None:
    plan = selftest_plan("debian-13/snp/libvirt")
    assert "openssh-server" not in plan.packages
    assert not [path for path in tree(plan) if "ssh" in path]
    assert not [unit for unit, state in plan.units.items() if "ssh" in unit and state == "enable"]


def test_debug_lets_who_holds_the_key_in_and_nobody_without_one() -> None:
    without, plan = selftest_plan("debian-13/snp/libvirt+debug"), selftest_plan("debian-13/snp/libvirt+debug", KEY)
    assert "podvm-ssh.service" not in without.units and not [path for path in tree(without) if "sshd" in path]
    assert plan.units["podvm-ssh.service"] == "enable"
    config = tree(plan)["usr/share/podvm/sshd_config"].data.decode()
    assert "PasswordAuthentication no" in config and "AuthorizedKeysFile /usr/share/podvm/authorized_keys" in config
    # a host key in the image would be everybody's
    assert "HostKey /run/" in config and "/etc/ssh" in plan.image.remove
    assert "systemd.ssh_auto=no" in plan.kernel.cmdline


def test_sftp_takes_the_user_data_when_it_has_come() -> None:
    plan = selftest_plan("debian-13/snp/libvirt+sftp", KEY)
    files = tree(plan)
    assert plan.units["process-user-data.path"] == plan.units["reboot-watcher.path"] == "enable"
    assert "process-user-data.service" not in plan.units
    path = parse_unit(files["etc/systemd/system/process-user-data.path"].data.decode())
    assert path.last("Path", "PathExists") == "/media/cidata/user-data"
    watcher = parse_unit(files["etc/systemd/system/reboot-watcher.path"].data.decode())
    assert watcher.last("Path", "PathExists") == "/media/cidata/reboot"
    config = files["usr/share/podvm/sshd_config.d/10-sftp.conf"].data.decode()
    for line in ("Match User peerpod", "ChrootDirectory /media", "ForceCommand internal-sftp"):
        assert line in config
    # of lines about one path, that of the file whose name sorts first counts (tmpfiles.d(5))
    ours, all_images = "usr/lib/tmpfiles.d/10-podvm-sftp.conf", "usr/lib/tmpfiles.d/podvm.conf"
    assert "d /media/cidata 0755 peerpod peerpod -" in files[ours].data.decode() and ours < all_images
    assert files["usr/lib/sysusers.d/podvm-sftp.conf"].data.decode().splitlines()[-1].startswith("u peerpod ")


def test_sftp_without_a_key_is_refused() -> None:
    with pytest.raises(InputErrors) as caught:
        selftest_plan("debian-13/snp/libvirt+sftp")
    assert caught.value.code == "PVB125"


def test_gpu_takes_the_open_driver_and_blocks_the_kernel_s_own() -> None:
    plan = selftest_plan("debian-13/snp/azure+gpu")
    assert "nvidia-open-kernel-dkms" in plan.packages and "firmware-nvidia-gsp" in plan.packages
    assert set(plan.distro.repositories) >= {"main", "contrib", "non-free", "non-free-firmware"}
    files = tree(plan)
    for module in ("nouveau", "nova_core"):
        assert f"blacklist {module}" in files["usr/lib/modprobe.d/podvm-gpu.conf"].data.decode()
        assert any(module in word for word in plan.kernel.cmdline if word.startswith("module_blacklist="))
    assert plan.units["nvidia-cdi.service"] == "enable"
    patterns = [re.compile(pattern) for pattern in plan.kernel.modules]
    assert any(pattern.match("updates/dkms/nvidia-uvm.ko") for pattern in patterns)
    assert not any(pattern.match("drivers/gpu/drm/nouveau/nouveau.ko") for pattern in patterns)


def test_gpu_is_refused_where_its_packages_are_not_known() -> None:
    with pytest.raises(InputErrors) as caught:
        selftest_plan("debian-12/none/libvirt+gpu")
    assert caught.value.code == "PVB126"


def test_features_compose() -> None:
    plan = selftest_plan("debian-13/snp/azure+debug+gpu+sftp", KEY)
    parts = [
        selftest_plan("debian-13/snp/azure+debug", KEY),
        selftest_plan("debian-13/snp/azure+gpu"),
        selftest_plan("debian-13/snp/azure+sftp", KEY),
    ]
    for part in parts:
        assert set(tree(part)) - set(tree(plan)) <= {"etc/systemd/system/getty.target"} | {
            path for path, file in tree(part).items() if not file.data
        }
        kernels = {"linux-image-cloud-amd64"}
        assert set(part.packages) - kernels <= set(plan.packages)
    roots = {json.dumps(rootfs_fields(one, "x"), sort_keys=True) for one in (plan, *parts)}
    assert len(roots) == 4


def test_a_machine_s_devices_are_described(tmp_path: Path) -> None:
    """The description is JSON that a container runtime reads, for two devices and a library."""
    script = template_files("features/gpu")["usr/local/bin/generate-nvidia-cdi.sh"].decode()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    (tmp_path / "libcuda.so.1").touch()
    script = script.replace("/dev/null", "/NULL").replace("/dev/", f"{tmp_path}/").replace("/NULL", "/dev/null")
    script = script.replace("/run/cdi", str(tmp_path / "cdi")).replace("[ -c", "[ -e").replace("! -c", "! -e")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, says in (
        ("nvidia-modprobe", ""),
        ("ldconfig", f" libcuda.so.1 => {tmp_path}/libcuda.so.1\n libc.so.6 => /x"),
    ):
        (programs / name).write_text(f"#!/bin/sh\ncat <<'E'\n{says}\nE\n")
        (programs / name).chmod(0o755)
    subprocess.run(["sh", "-c", script], check=True, env={"PATH": f"{programs}:/usr/bin:/bin"})
    spec = json.loads((tmp_path / "cdi/nvidia.json").read_text())
    assert spec["kind"] == "nvidia.com/gpu"
    assert [device["name"] for device in spec["devices"]] == ["0", "1", "all"]
    assert [len(device["containerEdits"]["deviceNodes"]) for device in spec["devices"]] == [1, 1, 2]
    mounts = [mount["hostPath"] for mount in spec["containerEdits"]["mounts"]]
    assert f"{tmp_path}/libcuda.so.1" in mounts and "/x" not in mounts
    assert {node["path"] for node in spec["containerEdits"]["deviceNodes"]} == {
        f"{tmp_path}/nvidiactl",
        f"{tmp_path}/nvidia-uvm",
    }


def test_scripts_of_features_pass_shellcheck(tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    scripts = {path: data for path, data in template_files("features").items() if data.startswith(b"#!")}
    assert len(scripts) == 2
    for path, data in scripts.items():
        (tmp_path / Path(path).name).write_bytes(data)
    subprocess.run(["shellcheck", *sorted(Path(path).name for path in scripts)], cwd=tmp_path, check=True)


def test_the_image_s_own_configuration_is_put_over_what_was_delivered(tmp_path: Path) -> None:
    script = template_files("guest")["usr/local/lib/podvm/settle-config"].decode()
    own, peerpod = tmp_path / "own", tmp_path / "peerpod"
    own.mkdir()
    peerpod.mkdir()
    (own / "aa.toml").write_text("baked")
    (own / "policy.rego").write_text("baked")
    (peerpod / "aa.toml").write_text("delivered")
    (peerpod / "cdh.toml").write_text("delivered")
    script = script.replace("/etc/podvm", str(own)).replace("/run/peerpod", str(peerpod))
    done = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True)
    assert {path.name: path.read_text() for path in peerpod.iterdir()} == {
        "aa.toml": "baked",
        "policy.rego": "baked",
        "cdh.toml": "delivered",
    }
    assert "aa.toml is the image's own" in done.stdout and "policy.rego" not in done.stdout
