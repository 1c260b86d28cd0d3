"""Entering a tree: what a program sees, how it ends, and what is said where it cannot be entered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import Lacking
from podvm_builder.tools import userns
from podvm_builder.tools.process import stop
from podvm_builder.tools.sandbox import Bind, spawn
from podvm_builder.tools.tree import ToolsTree, load_tree, require
from tests.support.fake_tree import make_fake_tree


@pytest.fixture
def tree(tmp_path: Path) -> ToolsTree:
    make_fake_tree(tmp_path)
    found = load_tree(tmp_path, catalogue().tools.id)
    assert found is not None
    return found


def shell(tree: ToolsTree, script: str, *binds: Bind, **options: object) -> str:
    done = tree.run(["sh", "-c", script], binds=binds, **options)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_the_tree_is_the_root_and_is_read_only(tree: ToolsTree) -> None:
    assert shell(tree, "cat /usr/share/fake/image.manifest | cat; echo done").endswith("done\n")
    assert shell(tree, "touch /usr/x 2>/dev/null || echo refused") == "refused\n"
    assert shell(tree, "touch /tmp/x /run/x /mnt/x /var/tmp/x /root/x && echo fine") == "fine\n"
    assert not (tree.root / "tmp/x").exists()


def test_nothing_of_the_host_is_seen(tree: ToolsTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the host")
    assert "SECRET" not in shell(tree, "export -p")
    assert shell(tree, "[ -e /etc/passwd ] || echo absent") == "absent\n"
    # process 1 is the door, not the host's
    assert "enter.py" in shell(tree, "cat /proc/1/cmdline").replace("\0", " ")


def test_binds(tree: ToolsTree, tmp_path: Path) -> None:
    host = tmp_path / "a folder with; $(odd) 'names'"
    host.mkdir()
    (host / "file").write_text("content")
    writable = Bind(host=host, inside="/mnt/deep/er")
    read_only = Bind(host=host, inside="/mnt/ro", read_only=True)
    one_file = Bind(host=host / "file", inside="/mnt/one", read_only=True)
    script = "cat /mnt/ro/file /mnt/one; touch /mnt/deep/er/new; touch /mnt/ro/x 2>/dev/null || echo refused"
    assert shell(tree, script, writable, read_only, one_file) == "contentcontentrefused\n"
    assert (host / "new").exists()


def test_folder_environment_umask_and_processors(tree: ToolsTree) -> None:
    process = tree.popen(
        [
            "sh",
            "-c",
            'echo "$PWD $NAME"; umask; while read -r n v; do case $n in Cpus_allowed_list:) echo $v;; esac;'
            "done </proc/self/status",
        ],
        cwd="/var/tmp",
        env={"NAME": "value"},
        umask=0o027,
        cpus=[min(os.sched_getaffinity(0))],
        stdout=subprocess.PIPE,
    )
    out, _ = process.communicate()
    assert out.decode().split("\n")[:3] == ["/var/tmp value", "0027", str(min(os.sched_getaffinity(0)))]


def test_exit_statuses(tree: ToolsTree) -> None:
    assert tree.run(["sh", "-c", "exit 7"]).returncode == 7
    assert tree.run(["sh", "-c", "kill -KILL $$"]).returncode == 137


def test_orphans_end_with_the_program(tree: ToolsTree) -> None:
    mark = f"86399.{os.getpid()}1"
    assert tree.run(["sh", "-c", f"sleep {mark} & exit 0"]).returncode == 0
    assert not _running(mark)


def test_stopping_ends_what_ignores_being_asked(tree: ToolsTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podvm_builder.tools.sandbox.GRACE", 1)
    mark = f"86399.{os.getpid()}2"
    process = tree.popen(["sh", "-c", f"trap '' TERM INT HUP; sleep {mark} & wait; sleep {mark}"])
    _wait_for(mark)
    stop(process)
    assert process.returncode == 137
    assert not _running(mark)


def test_stopping_ends_what_outlasts_every_patience() -> None:
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(); time.sleep(86399)"
    with subprocess.Popen([sys.executable, "-uc", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        stop(process, patience=0.1)
        assert process.returncode == -9


def test_an_interruption_while_a_program_starts_ends_it(tree: ToolsTree, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = f"86399.{os.getpid()}4"

    def interrupted(*_args: object, **_options: object) -> None:
        _wait_for(mark)  # the program may run before its start has been heard of
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fdopen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tree.popen(["sleep", mark])
    assert not _running(mark)


def test_a_request_to_end_that_comes_at_once_is_heard(tree: ToolsTree) -> None:
    """Process 1 of a namespace loses signals that it has no handler for: it must not get them before."""
    for _ in range(20):
        process = tree.popen(["sleep", f"86399.{os.getpid()}5"])
        stop(process)
        assert process.returncode == 143  # by the request, and not by the kill that comes after it


def test_a_program_that_is_not_there(tree: ToolsTree) -> None:
    with pytest.raises(Lacking) as caught:
        tree.popen(["nonesuch"])
    assert caught.value.code == "PVB313"
    assert "`nonesuch`" in caught.value.message


def test_a_bind_that_cannot_be_made(tree: ToolsTree, tmp_path: Path) -> None:
    with pytest.raises(Lacking) as caught:
        tree.popen(["sh"], binds=[Bind(host=tmp_path, inside="/usr/nowhere")])
    assert caught.value.code == "PVB314"
    assert "/usr/nowhere" in caught.value.message


def test_programs_die_with_the_process_that_started_them(tree: ToolsTree, tmp_path: Path) -> None:
    mark = f"86399.{os.getpid()}3"
    program = (
        "import sys\nfrom pathlib import Path\nfrom podvm_builder.tools.sandbox import spawn\n"
        "spawn(['sleep', sys.argv[2]], root=Path(sys.argv[1])).wait()"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tree.root), mark])
    _wait_for(mark)
    process.kill()
    process.wait()
    end = time.monotonic() + 30
    while _running(mark) and time.monotonic() < end:
        time.sleep(0.02)
    assert not _running(mark)


def test_a_program_of_the_host_in_namespaces_of_its_own(tree: ToolsTree) -> None:
    process = spawn(["sh", "-c", "echo $$; exit 3"], root=None, stdout=subprocess.PIPE)
    out, _ = process.communicate()
    assert process.returncode == 3
    assert int(out) < 10


def test_a_record_that_is_not_ours_is_no_tree(tmp_path: Path) -> None:
    spec = catalogue().tools.id
    assert load_tree(tmp_path, spec) is None
    make_fake_tree(tmp_path)
    record = tmp_path / "tools" / spec / "tree.json"
    good = json.loads(record.read_text())
    bad: object
    for bad in ({**good, "schema": "x"}, {**good, "spec": "x"}, {**good, "installed": [["x"]]}, [], None):
        record.write_text(json.dumps(bad))
        assert load_tree(tmp_path, spec) is None
    record.write_text("{")
    assert load_tree(tmp_path, spec) is None


def test_a_package_that_is_not_in_the_tree(tree: ToolsTree) -> None:
    assert require(tree, "mkosi") == "25.3-7"
    with pytest.raises(Lacking) as caught:
        require(tree, "nonesuch")
    assert caught.value.code == "PVB313"


def _running(mark: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes().split(b"\0")[-2:]:
                return True
        except OSError:
            continue
    return False


def _wait_for(mark: str) -> None:
    end = time.monotonic() + 30
    while not any(b"sleep\0" + mark.encode() in _read(path) for path in Path("/proc").glob("[0-9]*/cmdline")):
        assert time.monotonic() < end
        time.sleep(0.02)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    ],
)
def test_what_withholds_user_namespaces_is_named(tmp_path: Path, setting: str, value: str, words: str) -> None:
    (tmp_path / setting).parent.mkdir(parents=True)
    (tmp_path / setting).write_text(f"{value}\n")
    error = userns.withheld(tmp_path, tmp_path / "subuid", "somebody")
    assert error is not None
    assert error.code == "PVB310"
    assert words in (error.hint or "")


@pytest.mark.parametrize("text", ["", "other:100000:65536\n", "somebody:100000:1000\n", "somebody:x\n"])
def test_missing_subordinate_ids_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "subuid").write_text(text)
    error = userns.withheld(tmp_path, tmp_path / "subuid", "somebody")
    assert error is not None
    assert error.code == "PVB311"
    assert "usermod --add-subuids" in (error.hint or "")


def test_nothing_is_withheld(tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("somebody:100000:65536\n")
    assert userns.withheld(tmp_path, tmp_path / "subuid", "somebody") is None
