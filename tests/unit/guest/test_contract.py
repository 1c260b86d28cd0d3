"""cloud-api-adaptor's guest contract (0.22), written from its description: what an image must hold."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from podvm_builder.errors import InputErrors
from podvm_builder.formats.unit_file import UnitFile, parse_unit
from podvm_builder.guest.components import selftest
from podvm_builder.guest.payload import payload
from podvm_builder.model.recipe import RecipeTree
from tests.support.plans import selftest_plan

TARGET = "debian-13/snp/libvirt"


def tree(*sets: str, target: str = TARGET) -> RecipeTree:
    return payload(selftest_plan(target, *sets), selftest())


def text(path: str, *sets: str) -> str:
    return tree(*sets)[path].data.decode()


def unit(name: str, *sets: str) -> UnitFile:
    """Return a unit with its drop-ins."""
    found = tree(*sets)
    drop_ins = sorted(path for path in found if f"/{name}.d/" in path)
    return parse_unit(*(found[path].data.decode() for path in (f"etc/systemd/system/{name}", *drop_ins)))


def enabled(*sets: str) -> set[str]:
    lines = text("usr/lib/systemd/system-preset/10-podvm.preset", *sets).splitlines()
    return {line.removeprefix("enable ") for line in lines if line.startswith("enable ")}


@pytest.mark.parametrize(
    "path",
    [
        "etc/agent-config.toml",
        "etc/ocicrypt_config.json",
        "etc/containers/policy.json",
        "etc/kata-oci/empty-auth.json",
        "etc/aa-offline_fs_kbc-keys.json",
        "etc/aa-offline_fs_kbc-resources.json",
        "etc/kata-opa/allow-all.rego",
        "etc/kata-opa/allow-all-except-exec-process.rego",
        "etc/kata-opa/disallow-all-except-setpolicy.rego",
        "usr/local/bin/kata-agent-clean",
        "usr/local/bin/luks-encrypt-storage",
        "usr/local/bin/setup-nat-for-imds.sh",
        "usr/local/bin/setup-scratch-storage",
        "usr/local/bin/kata-agent",
        "usr/local/bin/attestation-agent",
        "usr/local/bin/confidential-data-hub",
        "usr/local/bin/api-server-rest",
        "usr/local/bin/agent-protocol-forwarder",
        "usr/local/bin/process-user-data",
        "usr/local/bin/azure-ready",
    ],
)
def test_files_are_where_others_look_for_them(path: str) -> None:
    file = tree()[path]
    assert file.data and file.mode == (0o755 if path.startswith("usr/local/bin/") else 0o644)


def test_configuration_is_what_the_agents_are_given() -> None:
    assert tomllib.loads(text("etc/agent-config.toml")) == {
        "server_addr": "unix:///run/kata-containers/agent.sock",
        "guest_components_procs": "none",
    }
    provider = json.loads(text("etc/ocicrypt_config.json"))["key-providers"]["attestation-agent"]
    assert provider == {"ttrpc": "unix:///run/confidential-containers/cdh.sock"}
    assert json.loads(text("etc/kata-oci/empty-auth.json")) == {"auths": {}}
    assert json.loads(text("etc/containers/policy.json")) == {"default": [{"type": "insecureAcceptAnything"}]}


def test_scratch_storage_is_asked_for_by_its_marker() -> None:
    marker = "/run/peerpod/scratch-space.marker"
    assert unit("scratch-storage.path").last("Path", "PathExists") == marker
    service = unit("scratch-storage.service")
    # the kata agent pulls the service in as well, so the path's condition alone would not do (CAA #2516)
    assert service.last("Unit", "ConditionPathExists") == marker
    assert "kata-agent.service" in service.lists("Unit", "Before")
    assert "scratch-storage.service" in unit("kata-agent.service").lists("Unit", "Wants")
    assert "scratch-storage.path" in enabled()
    assert unit("scratch-storage.service", "guest.scratch=always").last("Unit", "ConditionPathExists") == ""
    for kind in ("path", "service"):
        assert tree("guest.scratch=never")[f"etc/systemd/system/scratch-storage.{kind}"].data == b""


def test_scratch_storage_has_the_contract_s_cipher_and_place_and_writes_no_partition_table() -> None:
    script = text("usr/local/bin/luks-encrypt-storage")
    assert "--cipher aes-xts-plain64" in script
    assert "--integrity hmac-sha256 --integrity-no-wipe" in script
    setup = text("usr/local/bin/setup-scratch-storage")
    assert "/run/kata-containers/image" in setup
    for writer in ("sfdisk", "sgdisk", "parted", "repart", "fdisk"):
        assert writer not in setup.replace("EFI PART", "")


def test_the_kata_agent_runs_in_the_pod_s_namespace_unit_and_is_cleaned_up_after() -> None:
    agent = unit("kata-agent.service")
    assert "netns@podns.service" in agent.lists("Unit", "BindsTo")
    assert any("kata-agent-clean" in line for line in agent.commands("Service", "ExecStopPost"))
    assert not agent.lists("Install", "WantedBy")


def test_the_socket_is_found_in_the_configuration_as_it_is(tmp_path: Path) -> None:
    """The incumbent's pattern never matches its own configuration."""
    socket = tmp_path / "agent.sock"
    socket.touch()
    config = tmp_path / "agent-config.toml"
    config.write_text(text("etc/agent-config.toml").replace("/run/kata-containers/agent.sock", str(socket)))
    script = tmp_path / "kata-agent-clean"
    script.write_text(text("usr/local/bin/kata-agent-clean"))
    subprocess.run(["sh", script, "--config", config], check=True)
    assert not socket.exists()


def test_the_forwarder_s_port_and_tls_are_the_profile_s_choice() -> None:
    assert text("etc/default/agent-protocol-forwarder") == 'TLS_OPTIONS=""\nOPTIONS="-listen 0.0.0.0:15150"\n'
    assert "0.0.0.0:443" in text("etc/default/agent-protocol-forwarder", "guest.port=443")
    plan = selftest_plan(f"{TARGET}+debug", 'guest.tls="off"')
    assert b'TLS_OPTIONS="-disable-tls"' in payload(plan, {})["etc/default/agent-protocol-forwarder"].data


def test_a_production_image_keeps_tls() -> None:
    with pytest.raises(InputErrors) as caught:
        selftest_plan(TARGET, 'guest.tls="off"')
    assert caught.value.code == "PVB123"


@pytest.mark.parametrize(
    "value", ["guest.port=0", "guest.port=65536", "guest.fallback_dns=[x]", "guest.registry_auth=x"]
)
def test_values_that_cannot_work_are_refused(value: str) -> None:
    with pytest.raises(InputErrors) as caught:
        selftest_plan(TARGET, value)
    assert caught.value.code == "PVB117"


def test_registry_credentials_are_delivered_or_of_the_kbs() -> None:
    name = "CDH_DEFAULT_IMAGE_AUTHENTICATED_REGISTRY_CREDENTIALS"
    words = unit("confidential-data-hub.service").commands("Service", "Environment")
    assert words[-1] == f"{name}=file:///run/peerpod/auth.json"
    uri = "kbs:///default/credential/registry"
    words = unit("confidential-data-hub.service", f"guest.registry_auth={uri}").commands("Service", "Environment")
    assert words[-1] == f"{name}={uri}"


@pytest.mark.parametrize("name", ["allow-all", "allow-all-except-exec-process", "disallow-all-except-setpolicy"])
def test_the_policy_is_the_profile_s_choice(name: str) -> None:
    lines = text("usr/lib/tmpfiles.d/podvm-policy.conf", f"guest.policy={name}").splitlines()
    assert f"C /run/peerpod/policy.rego 0644 root root - /etc/kata-opa/{name}.rego" in lines
    # the kata agent looks in one place, which is a link to what is in force
    assert "L /etc/kata-opa/default-policy.rego - - - - /run/peerpod/policy.rego" in text(
        "usr/lib/tmpfiles.d/podvm.conf"
    )


@pytest.mark.parametrize(
    ("name", "exec_process", "set_policy", "create"),
    [
        ("allow-all", True, True, True),
        ("allow-all-except-exec-process", False, True, True),
        ("disallow-all-except-setpolicy", False, True, False),
    ],
)
def test_policies_decide_what_their_names_say(name: str, exec_process: bool, set_policy: bool, create: bool) -> None:
    regopy = pytest.importorskip("regopy")
    rego = regopy.Interpreter()
    rego.add_module(name, text(f"etc/kata-opa/{name}.rego"))
    for request, wanted in (
        ("ExecProcessRequest", exec_process),
        ("SetPolicyRequest", set_policy),
        ("CreateContainerRequest", create),
    ):
        answer = json.loads(str(rego.query(f"x = data.agent_policy.{request}")))
        assert answer["bindings"]["x"] is wanted, request


def test_the_pod_reaches_the_metadata_service_of_its_cloud_only() -> None:
    service = unit("setup-nat-for-imds.service")
    conditions = service.commands("Unit", "ConditionFirmware")
    assert '|smbios-field(sys_vendor = "Amazon EC2")' in conditions
    assert all(condition.startswith("|") for condition in conditions)
    # wanted by the forwarder: to want it would start it before its time
    assert service.lists("Install", "WantedBy") == ("agent-protocol-forwarder.service",)
    assert not service.lists("Unit", "Wants", "Requires", "BindsTo")
    rows = [row.split("\t") for row in text("usr/local/lib/podvm/metadata-services").splitlines()]
    assert {address for *_, address in rows} == {"169.254.169.254", "100.100.100.200"} and len(rows) == 4


def test_azure_is_told_on_azure_only_and_nobody_waits_for_it() -> None:
    service = unit("azure-ready.service")
    assert service.last("Unit", "ConditionVirtualization") == "microsoft"
    assert "network-online.target" not in service.lists("Unit", "Wants", "After")
    script = text("usr/local/bin/azure-ready")
    for word in ("168.63.129.16", "2015-04-05", "comp=goalstate", "comp=health", "<State>Ready</State>"):
        assert word in script


def test_azure_s_disks_have_names_by_lun() -> None:
    assert "disk/azure/data/by-lun/%c" in text("usr/lib/udev/rules.d/66-azure-storage.rules")


def test_csi_wrappers_find_the_kubelet_s_folder() -> None:
    assert "d /var/lib/kubelet 0755 root root -" in text("usr/lib/tmpfiles.d/podvm.conf")


def test_shell_scripts_of_the_guest_pass_shellcheck(tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    for path, file in tree().items():
        if file.data.startswith((b"#!/bin/sh", b"#!/bin/bash")) and not path.startswith("usr/local/lib/podvm-"):
            (tmp_path / Path(path).name).write_bytes(file.data)
    names = sorted(found.name for found in tmp_path.iterdir() if found.name not in selftest_names())
    subprocess.run(["shellcheck", *names], cwd=tmp_path, check=True)


def selftest_names() -> set[str]:
    return {Path(path).name for path in selftest()}
