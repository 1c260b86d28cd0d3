"""The payload keeps cloud-api-adaptor's contract: written from its description, not from our files."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from podvm_builder.errors import InputError
from podvm_builder.guest.components import COMPONENTS, place_components, selftest
from podvm_builder.guest.files import template_files
from podvm_builder.guest.payload import PRESET, payload, payload_identity
from tests.support.plans import selftest_plan

TARGET = "debian-13/snp/libvirt"


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(payload(selftest_plan(TARGET), selftest())[f"etc/systemd/system/{name}"].data.decode())
    return parser


@pytest.mark.parametrize(
    ("name", "watched"),
    [
        ("attestation-agent", "/run/peerpod/aa.toml"),
        ("confidential-data-hub", "/run/confidential-containers/attestation-agent/attestation-agent.sock"),
        ("kata-agent", "/run/confidential-containers/cdh.sock"),
        ("api-server-rest", "/run/confidential-containers/cdh.sock"),
        ("agent-protocol-forwarder", "/run/kata-containers/agent.sock"),
    ],
)
def test_each_program_starts_when_the_one_before_it_is_there(name: str, watched: str) -> None:
    assert unit(f"{name}.path")["Path"]["PathExists"] == watched
    assert unit(f"{name}.path")["Install"]["WantedBy"] == "multi-user.target"
    service = unit(f"{name}.service")
    # started by its path only: a service that multi-user.target wants would start before its turn
    assert "Install" not in service
    assert f"/usr/local/bin/{name}" in service["Service"]["ExecStart"]


def test_the_commands_are_the_contract_s() -> None:
    assert unit("attestation-agent.service")["Service"]["ExecStart"].endswith(
        "attestation-agent -c /run/peerpod/aa.toml"
    )
    assert unit("kata-agent.service")["Service"]["ExecStart"].endswith("kata-agent --config /etc/agent-config.toml")
    assert unit("process-user-data.service")["Service"]["ExecStart"].endswith("process-user-data provision-files")
    forwarder = unit("agent-protocol-forwarder.service")["Service"]
    assert forwarder["Type"] == "notify"
    assert forwarder["ExecStart"].endswith(
        "-pod-namespace /run/netns/podns -kata-agent-socket /run/kata-containers/agent.sock $TLS_OPTIONS $OPTIONS"
    )
    assert unit("api-server-rest.service")["Service"]["NetworkNamespacePath"] == "/run/netns/podns"


def test_only_the_plan_s_units_are_enabled() -> None:
    plan = selftest_plan(TARGET)
    lines = payload(plan, selftest())[PRESET].data.decode().splitlines()
    assert lines[-1] == "disable *"
    enabled = [line.removeprefix("enable ") for line in lines if line.startswith("enable ")]
    assert enabled == sorted(unit for unit, state in plan.units.items() if state == "enable")
    assert not [name for name in enabled if name.endswith(".service") and name.startswith(("kata", "attestation"))]


def test_masked_units_are_empty_files() -> None:
    plan = selftest_plan(TARGET)
    tree = payload(plan, selftest())
    for name, state in plan.units.items():
        assert (f"etc/systemd/system/{name}" in tree and not tree[f"etc/systemd/system/{name}"].data) == (
            state == "mask"
        )


def test_nothing_can_log_in_and_phases_are_masked_by_default() -> None:
    units = selftest_plan(TARGET).units
    assert units["getty.target"] == "mask"
    for phase in ("systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-pcrmachine.service"):
        assert units[phase] == "mask"


def test_phases_are_the_profile_s_choice() -> None:
    units = selftest_plan(TARGET, "measure.phases=true").units
    assert units.get("systemd-pcrphase.service") != "mask"


def test_the_selftest_set_has_every_component_at_its_place() -> None:
    paths = selftest()
    assert {component.path for component in COMPONENTS} <= set(paths)
    assert all(file.data.startswith(b"#!/bin/sh\n") for path, file in paths.items() if "/bin/" in path)


def test_a_components_folder_is_placed_whole() -> None:
    names = [component.name for component in COMPONENTS]
    assert place_components(names, folder="bin") == {name: f"usr/local/bin/{name}" for name in names}


@pytest.mark.parametrize(
    ("names", "code", "word"),
    [(["kata-agent"], "PVB402", "attestation-agent"), ([c.name for c in COMPONENTS] + ["sshd"], "PVB401", "sshd")],
)
def test_a_components_folder_that_is_not_exact_is_refused(names: list[str], code: str, word: str) -> None:
    with pytest.raises(InputError) as caught:
        place_components(names, folder="bin")
    assert caught.value.code == code and word in caught.value.message


def test_the_identity_covers_what_the_plan_does_not_spell_out() -> None:
    parts = payload_identity(selftest())
    assert set(selftest()) <= set(parts)
    assert {"recipe/mkosi.finalize", "recipe/initrd-init", "etc/systemd/system/kata-agent.service"} <= set(parts)


def test_shell_scripts_pass_shellcheck(tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    scripts = {**template_files("selftest"), "initrd-init": template_files("mkosi")["initrd-init"]}
    for name, data in scripts.items():
        (tmp_path / name).write_bytes(data)
    subprocess.run(
        ["shellcheck", "--shell=sh", "--external-sources", "--source-path=.", "--exclude=SC1091", *sorted(scripts)],
        cwd=tmp_path,
        check=True,
    )


def test_no_agent_starts_on_a_machine_that_could_not_be_bound_to_its_initdata() -> None:
    assert unit("process-user-data.service")["Service"]["ExecStartPost"].endswith(
        "/usr/local/lib/podvm/extend-initdata"
    )
    agent = unit("attestation-agent.service")["Unit"]
    assert agent["Requires"] == agent["After"] == "process-user-data.service"


@pytest.mark.parametrize(
    ("target", "bound"),
    [
        ("debian-13/none/aws", True),
        ("debian-13/snp/azure", True),
        ("debian-13/tdx/azure", True),
        ("debian-13/snp/libvirt", False),
        ("debian-13/tdx/gcp", False),
    ],
)
def test_targets_whose_evidence_is_a_tpm_s_insist_on_the_binding(target: str, bound: bool) -> None:
    plan = selftest_plan(target)
    assert (
        ("podvm.initdata=pcr8" in plan.kernel.cmdline)
        == bound
        == (plan.evidence.kind in ("tpm", "az-snp-vtpm", "az-tdx-vtpm"))
    )
