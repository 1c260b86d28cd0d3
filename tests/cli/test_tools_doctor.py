"""`tools` and `doctor`: what they say, and what happens where something is missing or in use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.cli.app import run
from podvm_builder.tools import doctor, process
from podvm_builder.tools.answer import HELPER, Answer
from podvm_builder.tools.cache import work_folder
from tests.support.fake_tree import make_fake_tree


def podvm(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "podvm_builder", *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_show_without_a_tree(tmp_path: Path) -> None:
    done = podvm("tools", "show", "--cache", str(tmp_path / "absent"), "--format", "json")
    assert done.returncode == 0
    shown = json.loads(done.stdout)
    assert (shown["made"], shown["root"], shown["spec"]) == (False, None, catalogue().tools.id)
    assert not (tmp_path / "absent").exists()


def test_show_make_and_remove(tmp_path: Path) -> None:
    tree = make_fake_tree(tmp_path)
    shown = json.loads(podvm("tools", "show", "--cache", str(tmp_path), "--format", "json").stdout)
    assert (shown["made"], shown["root"]) == (True, str(tree))
    assert shown["packages"]["mkosi"] == "25.3-7"
    assert "mkosi 25.3-7" in podvm("tools", "show", "--cache", str(tmp_path)).stdout
    # a tree that is there is not made anew
    assert podvm("tools", "make", "--cache", str(tmp_path)).stdout == f"{tree}\n"
    (tmp_path / "packages/x").mkdir(parents=True)
    done = podvm("tools", "remove", "--cache", str(tmp_path))
    assert done.returncode == 0
    assert "removed 1 tools tree" in done.stderr
    assert not tree.exists()
    assert (tmp_path / "packages/x").is_dir()
    assert podvm("tools", "remove", "--all", "--cache", str(tmp_path)).returncode == 0
    assert not (tmp_path / "packages").exists()


def test_nothing_is_removed_while_a_build_is_under_way(tmp_path: Path) -> None:
    tree = make_fake_tree(tmp_path)
    with work_folder(tmp_path):
        done = podvm("tools", "remove", "--cache", str(tmp_path))
    assert done.returncode == 3
    assert "error[PVB316]" in done.stderr
    assert tree.is_dir()


@pytest.fixture
def no_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without mmdebstrap."""
    found = process.which
    for module in (process, doctor):
        monkeypatch.setattr(module, "which", lambda name: None if name == "mmdebstrap" else found(name))


@pytest.mark.usefixtures("no_bootstrap")
def test_a_missing_program_is_named_with_its_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["build", "debian-13/none/libvirt", "-o", str(tmp_path / "out"), "--cache", str(tmp_path / "c")]) == 3
    err = capsys.readouterr().err
    assert "error[PVB301]: `mmdebstrap` is not installed" in err
    assert "apt-get install -y --no-install-recommends mmdebstrap" in err


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A mirror that answers; what it was asked for."""
    asked = []

    def ask(archive: str, suite: str, _options: object) -> Answer:
        asked.append((archive, suite))
        return Answer.YES

    monkeypatch.setattr(doctor, "ask", ask)
    return asked


@pytest.mark.usefixtures("no_bootstrap", "mirror")
def test_doctor_gives_the_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--cache", str(tmp_path / "absent"), "--format", "json"]) == 3
    said = json.loads(capsys.readouterr().out)
    assert not said["ok"]
    assert [check["name"] for check in said["checks"] if not check["ok"]] == ["mmdebstrap"]
    assert said["mend"] == [process.install_command(["mmdebstrap"])]
    assert run(["doctor", "--cache", str(tmp_path / "absent")]) == 3
    assert "MISSING  mmdebstrap" in capsys.readouterr().out
    assert not (tmp_path / "absent").exists()


@pytest.mark.usefixtures("no_bootstrap", "mirror")
def test_doctor_does_not_miss_what_only_makes_the_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_fake_tree(tmp_path)
    assert run(["doctor", "--cache", str(tmp_path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["mend"] == []


def _check(name: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    (found,) = [check for check in json.loads(capsys.readouterr().out)["checks"] if check["name"] == name]
    return dict(found)


def test_doctor_asks_the_mirror(
    mirror: list[tuple[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["doctor", "--cache", str(tmp_path), "--mirror", "http://127.0.0.1:9/debian", "--format", "json"])
    found = _check("package mirror", capsys)
    assert mirror == [("http://127.0.0.1:9/debian", catalogue().tools.suite)]
    assert (found["ok"], found["checked"]) == (True, True)
    assert str(found["found"]).endswith("it answers")


def test_doctor_misses_a_mirror_that_does_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not HELPER.exists():
        pytest.skip("there is no apt here to ask with")
    # nothing listens at the discard port: the connection is refused at once
    arguments = ["doctor", "--cache", str(tmp_path), "--mirror", "http://127.0.0.1:9/debian"]
    assert run([*arguments, "--format", "json"]) == 3
    found = _check("package mirror", capsys)
    assert (found["ok"], found["checked"]) == (False, True)
    assert run(arguments) == 3
    out = capsys.readouterr().out
    assert "MISSING  package mirror" in out
    assert "give a mirror that answers with --mirror URL" in out


def test_doctor_does_not_say_what_it_could_not_try(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "ask", lambda *_: Answer.NOT_ASKED)
    run(["doctor", "--cache", str(tmp_path), "--mirror", "http://127.0.0.1:9/debian"])
    assert "unknown  package mirror" in capsys.readouterr().out


def test_a_dead_mirror(tmp_path: Path) -> None:
    if process.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not installed")
    # nothing listens at the discard port: the connection is refused at once
    done = podvm("tools", "make", "--cache", str(tmp_path), "--mirror", "http://127.0.0.1:9/debian")
    if "error[PVB31" in done.stderr:
        pytest.skip("a tree cannot be made here")
    assert done.returncode == 5, done.stderr
    assert "error[PVB302]" in done.stderr
    assert "127.0.0.1" in done.stderr
    assert list((tmp_path / "tools").iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
