"""`list`, `plan`, `validate`, `schema` and `init` as a user sees them: stdout, stderr, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.cli.app import run
from podvm_builder.guest.components import COMPONENTS
from podvm_builder.model.axes import Target
from podvm_builder.planning.support import every_target

LIBVIRT = "debian-13/snp/libvirt"
PROFILE = "schema: 1\nname: acme\ndistro: debian-13\ntee: [snp, tdx]\ncloud: [libvirt, azure]\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Command:
    """Runs command lines and keeps what they wrote."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        found = run(list(arguments))
        self.out, self.err = self.capsys.readouterr()
        assert found == code, self.err
        return self.out

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--format", "json", code=code))


@pytest.fixture
def podvm(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def test_list_targets_as_json(podvm: Command) -> None:
    rows = podvm.json("list", "targets")
    keys = ["target", "supported", "level", "builder", "evidence", "identifies_image", "reason"]
    assert all(list(row) == keys for row in rows)
    by_target = {row["target"]: row for row in rows}
    assert len(by_target) == len(rows) == len(list(every_target(catalogue())))
    assert by_target[LIBVIRT] == {
        "target": LIBVIRT,
        "supported": True,
        "level": "booted",
        "builder": "mkosi",
        "evidence": "snp",
        "identifies_image": True,
        "reason": by_target[LIBVIRT]["reason"],
    }
    refused = by_target["debian-13/tdx/aws"]
    assert refused["supported"] is False
    assert refused["level"] is refused["builder"] is refused["evidence"] is refused["identifies_image"] is None
    assert all(row["reason"] for row in rows)
    assert podvm.err == ""


def test_list_targets_as_text(podvm: Command) -> None:
    lines = podvm("list").splitlines()
    assert lines[0].split()[:3] == ["TARGET", "LEVEL", "EVIDENCE"]
    line = next(line for line in lines if line.startswith("debian-13/snp/aws "))
    assert line.split()[1:4] == ["validated", "snp", "no"]
    assert "any image boots under it" in line


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (["--cloud", "aws"], lambda target, level: target.cloud == "aws"),
        (["--tee", "snp"], lambda target, level: target.tee == "snp"),
        (["--cloud", "aws", "--tee", "snp"], lambda target, level: (target.cloud, target.tee) == ("aws", "snp")),
        (["--distro", "debian-13"], lambda target, level: target.distro == "debian-13"),
        (["--level", "booted"], lambda target, level: level == "booted"),
        (["--level", "planned"], lambda target, level: level is not None),
    ],
)
def test_list_targets_is_filtered(podvm: Command, options: list[str], chosen: Callable[..., bool]) -> None:
    rows = podvm.json("list", "targets")
    wanted = [row for row in rows if chosen(Target.parse(row["target"]), row["level"])]
    assert 0 < len(wanted) < len(rows)
    assert podvm.json("list", "targets", *options) == wanted


def test_list_filters_that_are_wrong(podvm: Command) -> None:
    podvm("list", "--cloud", "awss", code=2)
    assert "did you mean `aws`?" in podvm.err
    podvm("list", "tees", "--cloud", "aws", code=2)
    assert "error[PVB100]" in podvm.err
    podvm("list", "nothing", code=2)


@pytest.mark.parametrize("kind", ["distros", "tees", "clouds", "firmware"])
def test_other_lists(podvm: Command, kind: str) -> None:
    rows = podvm.json("list", kind)
    text = podvm("list", kind)
    assert rows
    assert all(row["name"] in text and row["title"] in text for row in rows)


def test_list_tees_says_why_not(podvm: Command) -> None:
    reasons = {row["name"]: row["reason"] for row in podvm.json("list", "tees") if not row["supported"]}
    assert set(reasons) == {"sgx"}
    assert "enclave" in reasons["sgx"]


def test_plan_of_a_target_is_one_document(podvm: Command) -> None:
    plan = podvm.json("plan", LIBVIRT, "--set", "platform.vcpus=[2,4]")
    assert plan["schema"] == "podvm-plan/1"
    assert (plan["target"], plan["folder"]) == (LIBVIRT, "debian-13-snp-libvirt")
    assert plan["platform"]["vcpus"] == [2, 4]
    assert {len(value) for value in plan["ids"].values()} == {64}
    assert "origins" not in plan


def test_plan_of_a_matrix_is_a_list(podvm: Command) -> None:
    Path("acme.yaml").write_text(PROFILE)
    plans = podvm.json("plan", "acme.yaml")
    assert [plan["target"] for plan in plans] == [
        "debian-13/snp/libvirt",
        "debian-13/snp/azure",
        "debian-13/tdx/libvirt",
        "debian-13/tdx/azure",
    ]
    text = podvm("plan", "acme.yaml")
    assert text.count("\nkernel.cmdline ") == 4


def test_plan_as_text(podvm: Command) -> None:
    lines = dict(line.split(maxsplit=1) for line in podvm("plan", LIBVIRT).splitlines() if not line.startswith(" "))
    assert lines["target"] == LIBVIRT
    assert lines["evidence.identifies"] == "yes"


def test_explain(podvm: Command) -> None:
    Path("acme.yaml").write_text(PROFILE + "kernel:\n  cmdline: {append: [mitigations=auto]}\n")
    stories = podvm.json("plan", "acme.yaml", "--explain", "kernel.cmdline", "--set", "kernel.cmdline+=quiet9")
    assert stories[0]["target"] == LIBVIRT
    assert stories[0]["value"][-2:] == ["mitigations=auto", "quiet9"]
    assert stories[0]["origins"][-2:] == [
        {"layer": "profile acme", "place": "acme.yaml:7", "what": "+ mitigations=auto"},
        {"layer": "--set", "place": "command line", "what": "+ quiet9"},
    ]
    text = podvm("plan", LIBVIRT, "--explain", "kernel.cmdline")
    assert text.startswith("kernel.cmdline = ")
    assert "catalog/defaults.yaml:" in text
    assert podvm("plan", "acme.yaml", "--explain", "kernel.cmdline").count("profile acme") == 4


def test_explain_a_group(podvm: Command) -> None:
    keys = [story["key"] for story in podvm.json("plan", LIBVIRT, "--explain", "distro")]
    assert keys == ["distro.name", "distro.release", "distro.repositories", "distro.os_id"]


@pytest.mark.parametrize(("key", "near"), [("kernel.cmdlin", "`kernel.cmdline`"), ("cmdline", "`kernel.cmdline`")])
def test_explain_an_unknown_key(podvm: Command, key: str, near: str) -> None:
    podvm("plan", LIBVIRT, "--explain", key, code=2)
    assert "error[PVB116]" in podvm.err
    assert near in podvm.err


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("debian-13/snp", "PVB101"),
        ("", "PVB101"),
        ("absent.yaml", "PVB121"),
        ("debian-13/tdx/aws", "PVB111"),
        ("debian-13/sgx/libvirt", "PVB111"),
        ("debian-13/snpp/libvirt", "PVB102"),
    ],
)
def test_sources_that_are_wrong(podvm: Command, source: str, code: str) -> None:
    podvm("plan", source, code=2)
    assert f"error[{code}]" in podvm.err
    assert podvm.out == ""


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"a: [", "PVB106"),
        (b"\xff\xfe\x00", "PVB121"),
        (b"%PDF-1.7\n", "PVB106"),
        (b"", "PVB104"),
        (b"x" * (1 << 20), "PVB109"),
        (b"a: &a [x]\n" + b"b: [*a, *a]\n" * 900_000, "PVB109"),
        (b"a: " + b"[" * 100_000, "PVB109"),
        (b"a: &a [" + b"x," * 99 + b"]\nb: &b [" + b"*a," * 60 + b"]\nc: [*b, *b]", "PVB109"),
        (b"schema: 1\ntee: !!python/name:os.system\n", "PVB110"),
    ],
    ids=["cut", "binary", "pdf", "empty", "large", "aliases", "deep", "bomb", "tag"],
)
def test_files_that_are_no_profiles(podvm: Command, data: bytes, code: str) -> None:
    Path("bad.yaml").write_bytes(data)
    for command in ("plan", "validate"):
        podvm(command, "bad.yaml", code=2)
        assert f"error[{code}]" in podvm.err
        assert "bad.yaml" in podvm.err


def test_a_folder_is_no_profile(podvm: Command) -> None:
    Path("dir.yaml").mkdir()
    podvm("plan", "dir.yaml", code=2)
    assert "error[PVB121]" in podvm.err


def test_a_byte_order_mark_is_no_mistake(podvm: Command) -> None:
    Path("acme.yaml").write_text(PROFILE, encoding="utf-8-sig")
    podvm("validate", "acme.yaml")


def test_validate(podvm: Command) -> None:
    Path("good.yaml").write_text(PROFILE)
    Path("bad.yaml").write_text(PROFILE + "vcpus: 4\nplatform: {vcpu: 4}\n")
    assert podvm("validate", "good.yaml").startswith("good.yaml: 4 targets: debian-13/snp/libvirt, ")
    out = podvm("validate", "good.yaml", "bad.yaml", code=2)
    assert out.startswith("good.yaml: 4 targets")
    assert podvm.err.count("error[PVB103]") == 2
    assert "found 2 errors" in podvm.err


def test_validate_as_json(podvm: Command) -> None:
    Path("good.yaml").write_text(PROFILE)
    Path("bad.yaml").write_text(PROFILE + "platform: {vcpu: 4}\n")
    good, bad = podvm.json("validate", "good.yaml", "bad.yaml", code=2)
    assert (good["valid"], len(good["targets"]), good["errors"]) == (True, 4, [])
    assert bad == {
        "file": "bad.yaml",
        "valid": False,
        "targets": [],
        "errors": [
            {
                "code": "PVB103",
                "message": "unknown key `vcpu` in `platform`",
                "file": "bad.yaml",
                "line": 6,
                "column": 12,
                "note": "did you mean `vcpus`?",
                "hint": None,
            }
        ],
    }


def test_validate_finds_combinations_that_cannot_work(podvm: Command) -> None:
    Path("acme.yaml").write_text(PROFILE.replace("azure", "aws"))
    podvm("validate", "acme.yaml", code=2)
    assert "error[PVB111]" in podvm.err
    assert "acme.yaml:4:12" in podvm.err


def test_schema(podvm: Command) -> None:
    assert json.loads(podvm("schema"))["title"] == "podvm-build profile"
    assert podvm("schema", "profile") == podvm("schema")


def test_init(podvm: Command) -> None:
    podvm("init")
    assert podvm.out == ""
    first = Path("podvm.yaml").read_text()
    assert first.startswith("# yaml-language-server: $schema=./podvm-profile.schema.json\n")
    assert json.loads(Path("podvm-profile.schema.json").read_text())["title"] == "podvm-build profile"
    assert podvm.json("plan", "podvm.yaml")["target"] == LIBVIRT
    podvm("init", code=2)
    assert "error[PVB120]" in podvm.err
    assert Path("podvm.yaml").read_text() == first
    podvm("init", "--force", "--target", "debian-13/tdx/gcp+debug")
    assert podvm.json("plan", "podvm.yaml")["target"] == "debian-13/tdx/gcp+debug"


def test_init_as_json(podvm: Command) -> None:
    assert podvm.json("init", "a.yaml") == {"profile": "a.yaml", "schema": "podvm-profile.schema.json"}
    assert podvm.err.startswith("wrote a.yaml")


def test_render_as_json(podvm: Command, here: Path) -> None:
    (one,) = podvm.json("render", LIBVIRT, "-o", "recipe")
    assert (one["target"], one["folder"]) == (LIBVIRT, "recipe")
    written = [str(path.relative_to(here / "recipe")) for path in (here / "recipe").rglob("*") if path.is_file()]
    assert one["files"] == sorted(written)
    assert podvm.json("render", LIBVIRT, "-o", "recipe", "--check") == [one]
    (here / "acme.yaml").write_text(PROFILE)
    assert len(podvm.json("render", "acme.yaml", "-o", "recipes")) == 4
    assert podvm("render", LIBVIRT, "-o", "recipe") == "recipe\n"


def test_init_refuses_what_cannot_work(podvm: Command) -> None:
    podvm("init", "--target", "debian-13/tdx/aws", code=2)
    assert list(Path().iterdir()) == []


def components(folder: Path, **content: bytes) -> Path:
    folder.mkdir(parents=True)
    for component in COMPONENTS:
        (folder / component.name).write_bytes(content.get(component.name.replace("-", "_"), b"#!/bin/sh\n"))
    return folder


def test_components_change_the_root_by_their_content_alone(podvm: Command, here: Path) -> None:
    one, same = components(here / "a"), components(here / "b" / "c")
    other = components(here / "d", kata_agent=b"other")

    def rootfs(*options: str) -> str:
        return str(podvm.json("plan", LIBVIRT, *options)["ids"]["rootfs"])

    assert rootfs("--components", str(one)) == rootfs("--components", str(same)) == rootfs("--set", "components=a")
    found = {
        rootfs(),
        rootfs("--components", "none"),
        rootfs("--components", str(one)),
        rootfs("--components", str(other)),
    }
    assert len(found) == 4
    assert rootfs("--components", "selftest") == rootfs()


def test_components_beside_the_profile(podvm: Command, here: Path) -> None:
    components(here / "work" / "agents")
    (here / "work" / "acme.yaml").write_text(PROFILE + "components: agents\n")
    podvm("plan", "work/acme.yaml")
    (here / "work" / "link").symlink_to(components(here / "elsewhere"))
    (here / "work" / "acme.yaml").write_text(PROFILE + "components: link\n")
    podvm("plan", "work/acme.yaml", code=2)
    assert "error[PVB113]" in podvm.err
    podvm("plan", "work/acme.yaml", "--components", "elsewhere")


@pytest.mark.parametrize("name", ["absent", "file", "empty"])
def test_components_that_are_none(podvm: Command, here: Path, name: str) -> None:
    (here / "file").write_text("x")
    components(here / "empty", kata_agent=b"")
    podvm("plan", LIBVIRT, "--components", name, code=2)
    # a file is taken for a lock
    assert f"error[{'PVB104' if name == 'file' else 'PVB122'}]" in podvm.err


def test_firmware_by_name_or_file(podvm: Command, here: Path) -> None:
    assert podvm.json("plan", LIBVIRT, "--firmware", "ovmf")["platform"]["firmware"] == "ovmf"
    assert podvm.json("plan", LIBVIRT, "--firmware", "x/OVMF.fd")["platform"]["firmware"] == str(here / "x" / "OVMF.fd")


@pytest.mark.parametrize("arguments", [["plan", LIBVIRT], ["list", "targets"]], ids=" ".join)
def test_targets_need_no_model_of_profiles(arguments: list[str]) -> None:
    script = (
        "import sys; from podvm_builder.cli.app import run; code = run(sys.argv[1:]); "
        "sys.exit(code or ' '.join({'pydantic', 'jinja2', 'rich', 'requests'} & sys.modules.keys()) or None)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")
