"""`components` on the command line: lock, check, show, verify, pull, import, and what a plan makes of a lock."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from podvm_builder.cli.app import run
from podvm_builder.guest.components import COMPONENTS
from tests.support.elf import elf_program
from tests.support.sigstore_ca import OwnSigstore, Workflow

pytest.importorskip("sigstore", reason="the sigstore library is not installed")

TARGET = "debian-13/snp/libvirt"
STAND_INS = "".join(
    f"  {name}: {{selftest: true}}\n"
    for name in (
        "attestation-agent",
        "confidential-data-hub",
        "api-server-rest",
        "agent-protocol-forwarder",
        "process-user-data",
    )
)
SET = f"""schema: 1
trusted_root: root.json
components:
  kata-agent: {{path: agent, verify: {{repository: acme/agents}}}}
{STAND_INS}"""


class Command:
    """Runs command lines in a folder, with a cache of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *args: str, code: int = 0) -> str:
        found = run(list(args))
        self.out, self.err = self._capsys.readouterr()
        assert found == code, self.err
        return self.out

    def sign(self, data: bytes) -> None:
        own = OwnSigstore()
        (self.folder / "agent").write_bytes(data)
        (self.folder / "root.json").write_bytes(own.trusted_root())
        (self.folder / "agent.sigstore.json").write_bytes(own.attest(hashlib.sha256(data).hexdigest()))


@pytest.fixture
def podvm(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = Command(tmp_path, capsys)
    command.sign(elf_program(code=b"one"))
    (tmp_path / "set.yaml").write_text(SET)
    return command


def rootfs(podvm: Command, *args: str) -> str:
    found: str = json.loads(podvm("plan", TARGET, *args, "--format", "json"))["ids"]["rootfs"]
    return found


def test_a_set_is_locked_shown_verified_and_pulled(podvm: Command) -> None:
    assert podvm("components", "lock", "set.yaml") == "components.lock.yaml\n"
    assert f"signed by {Workflow().uri}" in podvm.err and "a stand-in" in podvm.err
    text = (podvm.folder / "components.lock.yaml").read_text()
    podvm("components", "lock", "set.yaml", "-o", "again.yaml")
    assert (podvm.folder / "again.yaml").read_text() == text
    shown = podvm("components", "show", "components.lock.yaml")
    assert "/usr/local/bin/kata-agent  0755" in shown and "provenance of github.com/acme/agents" in shown
    rows = json.loads(podvm("components", "show", "components.lock.yaml", "--format", "json"))
    assert [row["name"] for row in rows] == sorted(row["name"] for row in rows) and len(rows) == 6
    assert f"kata-agent: verified, signed by {Workflow().uri}" in podvm("components", "verify", "components.lock.yaml")
    said = json.loads(podvm("components", "verify", "components.lock.yaml", "--format", "json"))
    assert {row["verification"] for row in said} == {"verified", "selftest"}
    podvm("components", "pull", "components.lock.yaml", "--cache", "elsewhere")
    for name in ("agent", "agent.sigstore.json", "root.json"):
        (podvm.folder / name).unlink()
    podvm("components", "verify", "components.lock.yaml", "--cache", "elsewhere")


def test_what_moved_is_said_and_nothing_is_written(podvm: Command) -> None:
    podvm("components", "lock", "set.yaml")
    before = (podvm.folder / "components.lock.yaml").read_bytes()
    podvm("components", "lock", "set.yaml", "--check")
    podvm.sign(elf_program(code=b"two"))
    podvm("components", "lock", "set.yaml", "--check", code=1)
    assert "error[PVB756]" in podvm.err and "`kata-agent`: `agent` was sha256:" in podvm.err
    assert (podvm.folder / "components.lock.yaml").read_bytes() == before


def test_a_set_that_fails_leaves_the_lock_as_it_was(podvm: Command) -> None:
    podvm("components", "lock", "set.yaml")
    before = (podvm.folder / "components.lock.yaml").read_bytes()
    (podvm.folder / "agent").write_bytes(elf_program(code=b"evil"))
    podvm("components", "lock", "set.yaml", code=1)
    assert "error[PVB750]: `kata-agent`" in podvm.err
    assert (podvm.folder / "components.lock.yaml").read_bytes() == before


def test_another_root_does_not_verify(podvm: Command) -> None:
    podvm("components", "lock", "set.yaml")
    (podvm.folder / "other.json").write_bytes(OwnSigstore().trusted_root())
    podvm("components", "verify", "components.lock.yaml", "--trusted-root", "other.json", code=1)
    assert "error[PVB750]" in podvm.err
    podvm("components", "verify", "components.lock.yaml", "--trusted-root", "set.yaml", code=2)
    assert "error[PVB753]" in podvm.err
    podvm("components", "verify", "components.lock.yaml", "--trusted-root", "absent", code=2)
    assert "error[PVB320]" in podvm.err


def test_an_edited_lock_is_refused_everywhere(podvm: Command) -> None:
    podvm("components", "lock", "set.yaml")
    path = podvm.folder / "components.lock.yaml"
    path.write_text(path.read_text().replace("acme/agents", "evil/agents"))
    for command in (
        ("components", "verify", path.name),
        ("components", "pull", path.name),
        ("components", "show", path.name),
        ("components", "lock", "set.yaml", "--check"),
        ("plan", TARGET, "--components", path.name),
        ("build", TARGET, "--components", path.name),
    ):
        podvm(*command, code=2)
        assert "error[PVB740]" in podvm.err and "components lock SET" in podvm.err, command


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("components", "lock", "absent.yaml"), "PVB749"),
        (("components", "verify", "absent.yaml"), "PVB749"),
        (("components", "verify", "agent"), "PVB749"),
        (("components", "verify", "set.yaml"), "PVB105"),
        (("components", "lock", "set.yaml", "-o", "sub/dir/x.yaml"), "PVB735"),
        (("components", "lock", "set.yaml", "-o", "./set.yaml"), "PVB100"),
        (("components", "import", "x", "--tee", "amd", "-o", "./x"), "PVB100"),
    ],
)
def test_files_that_are_none(podvm: Command, args: tuple[str, ...], code: str) -> None:
    (podvm.folder / "agent").write_bytes(b"\xff\xfe")
    if code == "PVB735":
        podvm.sign(elf_program())
    podvm(*args, code=2)
    assert f"error[{code}]" in podvm.err


def test_the_lock_s_digest_is_what_enters_the_identity(podvm: Command) -> None:
    podvm("components", "lock", "set.yaml")
    first = rootfs(podvm, "--components", "components.lock.yaml")
    (podvm.folder / "profile.yaml").write_text(
        "schema: 1\ndistro: debian-13\ntee: snp\ncloud: libvirt\ncomponents: components.lock.yaml\n"
    )
    plan = json.loads(podvm("plan", "profile.yaml", "--format", "json"))
    assert plan["ids"]["rootfs"] == first
    podvm.sign(elf_program(code=b"two"))
    podvm("components", "lock", "set.yaml")
    assert rootfs(podvm, "--components", "components.lock.yaml") != first


def test_a_recipe_has_the_programs_and_says_that_some_are_stand_ins(podvm: Command) -> None:
    podvm("components", "lock", "set.yaml")
    podvm("render", TARGET, "-o", "recipe", "--components", "components.lock.yaml")
    extra = podvm.folder / "recipe" / "mkosi.extra"
    agent = extra / "usr/local/bin/kata-agent"
    assert agent.read_bytes() == elf_program(code=b"one") and agent.stat().st_mode & 0o777 == 0o755
    assert "ImageId=podvm-selftest" in (podvm.folder / "recipe" / "mkosi.conf").read_text()
    podvm("render", TARGET, "-o", "recipe", "--components", "components.lock.yaml", "--check")


def test_a_lock_for_another_machine_does_not_fit(podvm: Command) -> None:
    data = elf_program(machine=183)
    podvm.sign(data)
    (podvm.folder / "set.yaml").write_text(SET.replace("schema: 1", "schema: 1\narch: aarch64"))
    podvm("components", "lock", "set.yaml")
    podvm("plan", TARGET, "--components", "components.lock.yaml", code=2)
    assert "error[PVB747]" in podvm.err and "arch: x86_64" in podvm.err


def test_a_component_cannot_take_the_place_of_a_unit(podvm: Command) -> None:
    place = "install: /etc/systemd/system/kata-agent.service"
    (podvm.folder / "set.yaml").write_text(
        f"schema: 1\ncomponents: {{x: {{path: agent, {place}, unverified: {{reason: test}}}}}}\n"
    )
    podvm("components", "lock", "set.yaml")
    podvm("render", TARGET, "-o", "recipe", "--components", "components.lock.yaml", code=2)
    assert "error[PVB748]" in podvm.err


def test_the_incumbent_s_pins_become_a_set(podvm: Command) -> None:
    (podvm.folder / "versions.yaml").write_text(
        "tools: {golang: 1.25.13}\ngit: {}\noci:\n"
        "  pause: {registry: registry.k8s.io/pause, tag: 3.9}\n"
        f"  kata-containers: {{registry: ghcr.io/kata-containers/cached-artefacts, reference: {'a' * 40}}}\n"
        f"  guest-components: {{registry: ghcr.io/confidential-containers/guest-components, reference: {'b' * 40}}}\n"
    )
    text = podvm("components", "import", "versions.yaml", "--tee", "tdx")
    assert "tee: tdx" in text and "left out: tools, git" in podvm.err
    podvm("components", "import", "versions.yaml", "--tee", "tdx", "-o", "made.yaml")
    assert (podvm.folder / "made.yaml").read_text() == text
    podvm("components", "import", "versions.yaml", "--tee", "snp", code=2)
    assert "error[PVB731]" in podvm.err and "write `amd`" in podvm.err


@pytest.mark.parametrize(("data", "code"), [(elf_program(machine=183), "PVB745"), (b"<html>", "PVB744")])
def test_a_folder_s_programs_are_looked_at_before_a_build(podvm: Command, data: bytes, code: str) -> None:
    (podvm.folder / "agents").mkdir()
    for component in COMPONENTS:
        (podvm.folder / "agents" / component.name).write_bytes(data)
    podvm("build", TARGET, "-o", "out", "--components", "agents", code=2)
    assert f"error[{code}]: `/usr/local/bin/" in podvm.err and not (podvm.folder / "out").exists()
