"""`build` from the command line with a tree whose mkosi is a script: what is made, and every way to fail.

Every failure must leave the last good output as it was, nothing running, nothing mounted, and nothing half made.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fake_tree import SUCCEED, make_fake_tree, program_in
from tests.support.lint_image import clean_image

TARGET = "debian-13/none/libvirt"
FOLDER = "debian-13-none-libvirt"


class Bench:
    """A cache with a fake tree and an output folder."""

    def __init__(self, base: Path) -> None:
        self.cache = base / "cache"
        self.out = base / "out"
        self.cache.mkdir()
        self.tree = make_fake_tree(self.cache)
        self.more: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return self.out / FOLDER

    def command(self, *options: str) -> list[str]:
        place = ["-o", str(self.out), "--cache", str(self.cache)]
        return [sys.executable, "-m", "podvm_builder", "build", TARGET, *place, *self.more, *options]

    def build(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def mkosi(self, text: str) -> None:
        program_in(self.tree, "mkosi", f"#!/bin/sh\n{text}\n")

    def state(self) -> dict[str, str]:
        """Return every file of the output folder and its digest."""
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.folder.rglob("*")
            if path.is_file()
        }

    def leftovers(self) -> list[str]:
        """Return what a build should have removed: work, and half an output."""
        work = self.cache / "work"
        return [str(path) for path in [*work.glob("*"), *self.out.glob(".*.new-*"), *self.out.glob(".*.old")]]

    def mounts(self) -> list[str]:
        return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.cache) in line]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def good(bench: Bench) -> Iterator[Bench]:
    """A bench with a good output, which the test must leave whole."""
    done = bench.build()
    assert done.returncode == 0, done.stderr
    before = bench.state()
    # what is built from here on is another image: the same one would be taken from the output folder
    bench.more = ("--set", "kernel.cmdline+=loglevel=3")
    yield bench
    assert bench.state() == before
    assert bench.leftovers() == []
    assert bench.mounts() == []


def test_what_is_made(bench: Bench) -> None:
    done = bench.build("--format", "json")
    assert done.returncode == 0, done.stderr
    assert sorted(bench.state()) == [
        "image.efi",
        "image.raw",
        "logs/mkosi.log",
        "manifest.json",
        "measurements.json",
        "reference-values/NOTICE.txt",
        "reference-values/attestation-policy.rego",
        "reference-values/operator-configmap.yaml",
        "reference-values/rvps-message.json",
        "reference-values/rvps-sample.json",
        "report.html",
        "sbom.cdx.json",
    ]
    disk, uki, root_hash = clean_image()
    assert (bench.folder / "image.raw").read_bytes() == disk
    manifest = json.loads((bench.folder / "manifest.json").read_bytes())
    assert manifest["root_hash"] == root_hash
    assert manifest["files"]["image.efi"] == {"size": len(uki), "sha256": hashlib.sha256(uki).hexdigest()}
    assert manifest["packages"] == [{"name": "dash", "version": "0.5.12-12", "arch": "amd64"}]
    assert manifest["flags"] == ["selftest"]
    assert manifest["tools"]["mkosi"] == "25.3-7"
    assert {component["name"] for component in manifest["components"]} >= {"kata-agent", "attestation-agent"}
    (document,) = json.loads(done.stdout)
    assert document["target"] == TARGET
    assert document["root_hash"] == root_hash
    assert set(document["seconds"]) == {"tools", "render", "mkosi", "lint", "inspect", "measure", "export"}
    assert "Installing Debian" in (bench.folder / "logs/mkosi.log").read_text()
    assert bench.leftovers() == []
    assert [path.name for path in bench.out.iterdir() if not path.name.startswith(".")] == [FOLDER]


def test_text_ends_with_registers_and_reference_values(bench: Bench) -> None:
    done = bench.build()
    assert "identifies the image:" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("/reference-values/operator-configmap.yaml")
    assert "[3/7] mkosi: done in" in done.stderr


def test_an_image_with_lint_findings_is_not_put_out(good: Bench) -> None:
    disk, uki, _ = clean_image(setuid=True)
    (good.tree / "usr/share/fake/image.raw").write_bytes(disk)
    (good.tree / "usr/share/fake/image.efi").write_bytes(uki)
    done = good.build()
    assert done.returncode == 1
    assert "error[PVB800]: the image of `debian-13/none/libvirt` has 1 lint finding:" in done.stderr
    assert "PVB821 `/usr/bin/su` is set-user-ID" in done.stderr


def test_what_the_profile_suppresses_is_recorded(bench: Bench) -> None:
    disk, uki, _ = clean_image(setuid=True)
    (bench.tree / "usr/share/fake/image.raw").write_bytes(disk)
    (bench.tree / "usr/share/fake/image.efi").write_bytes(uki)
    bench.more = ("--set", 'lint.suppress=[{code: PVB821, path: /usr/bin/su, reason: "support asks for it"}]')
    done = bench.build()
    assert done.returncode == 0, done.stderr
    assert "not counted: PVB821" in done.stderr
    manifest = json.loads((bench.folder / "manifest.json").read_bytes())
    assert manifest["suppressions"] == [{"code": "PVB821", "path": "/usr/bin/su", "reason": "support asks for it"}]
    assert "support asks for it" in (bench.folder / "report.html").read_text()


def test_mode_of_the_output_does_not_depend_on_the_umask(bench: Bench) -> None:
    subprocess.run(bench.command(), umask=0o077, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    modes = {path.name: path.stat().st_mode & 0o777 for path in bench.folder.rglob("*")}
    assert modes["image.raw"] == modes["image.efi"] == modes["manifest.json"] == modes["mkosi.log"] == 0o644
    assert bench.folder.stat().st_mode & 0o777 == modes["logs"] == 0o755


def test_mkosi_sees_the_mirror_and_not_a_debug_archive(bench: Bench) -> None:
    bench.mkosi(
        'for word in "$@"; do case $word in --sandbox-tree=*) cat ${word#*=}/etc/apt/sources.list.d/mkosi.sources;;'
        " esac; done; exit 1"
    )
    done = bench.build("--mirror", "http://127.0.0.1:9/debian")
    assert done.returncode == 4
    log = (bench.out / f"{FOLDER}.mkosi.log").read_text()
    assert "URIs: http://127.0.0.1:9/debian\nSuites: trixie trixie-updates\nComponents: main\n" in log
    assert "debug" not in log


def test_a_failing_mkosi(good: Bench) -> None:
    good.mkosi(
        'echo "‣ Installing Debian"; echo "E: Unable to locate package nonesuch" >&2\n'
        'echo "‣ \\"apt-get install\\" returned non-zero exit code 100."; echo "‣ (Unlinking…)"; exit 1'
    )
    done = good.build()
    assert done.returncode == 4
    assert "error[PVB410]" in done.stderr
    assert "E: Unable to locate package nonesuch" in done.stderr
    log = good.out / f"{FOLDER}.mkosi.log"
    assert str(log) in done.stderr
    assert "Unlinking" in log.read_text()


def test_a_build_after_a_failed_one_takes_its_log_away(bench: Bench) -> None:
    bench.mkosi("exit 1")
    assert bench.build().returncode == 4
    bench.mkosi(SUCCEED)
    assert bench.build().returncode == 0
    assert not (bench.out / f"{FOLDER}.mkosi.log").exists()


def test_a_mirror_that_does_not_answer(good: Bench) -> None:
    good.mkosi(
        'echo "E: Failed to fetch http://mirror.invalid/dists/trixie/InRelease  Could not resolve mirror.invalid"\n'
        'echo "‣ \\"apt-get update\\" returned non-zero exit code 100."; exit 1'
    )
    done = good.build()
    assert done.returncode == 5
    assert "error[PVB302]" in done.stderr
    assert "mirror.invalid" in done.stderr


def test_a_disk_that_is_full_for_mkosi(good: Bench) -> None:
    good.mkosi(
        'echo "cp: error writing x: No space left on device"; echo "‣ \\"cp\\" returned non-zero exit code 1."; exit 1'
    )
    done = good.build()
    assert done.returncode == 3
    assert "error[PVB321]" in done.stderr


def test_a_disk_that_is_full_for_us(bench: Bench) -> None:
    # the output stands on a disk of its own that has less room than an image
    script = 'mount -t tmpfs -o size=256k tmpfs "$1" && cp -r "$2" "$1/" && shift 2 && "$@"; s=$?; ls -A "$0"; exit $s'
    bench.out.mkdir()
    former = bench.out.with_name("former")
    (former / FOLDER).mkdir(parents=True)
    (former / FOLDER / "image.raw").write_text("the last good one")
    inside = [*_as_root(), "unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(bench.out)]
    done = subprocess.run(
        [*inside, str(bench.out), str(former / FOLDER), *bench.command()],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "error[PVB321]" in done.stderr
    assert sorted(done.stdout.split()) == sorted([f".{FOLDER}.lock", FOLDER, f"{FOLDER}.mkosi.log"])
    assert bench.leftovers() == []


def _as_root() -> list[str]:
    return [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--map-auto"]


@pytest.mark.parametrize(
    "missing",
    ['rm "$out/image.efi"', 'rm "$out/image.raw"', 'rm "$out/image.manifest"', 'echo x > "$out/image.manifest"'],
)
def test_a_mkosi_that_makes_something_else(good: Bench, missing: str) -> None:
    good.mkosi(f"{SUCCEED}\n{missing}")
    done = good.build()
    assert done.returncode == 4
    assert "error[PVB413]" in done.stderr


def test_a_tree_that_lacks_mkosi(good: Bench) -> None:
    (good.tree / "usr/bin/mkosi").unlink()
    done = good.build()
    assert done.returncode == 3
    assert "error[PVB313]" in done.stderr
    assert "podvm-build tools remove" in done.stderr


def _wait(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end, "it did not come about in a minute"
        time.sleep(0.02)


def _running(mark: str) -> list[int]:
    """Return the processes that have a word in their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def _hang(bench: Bench, mark: str) -> subprocess.Popen[str]:
    """Start a build whose mkosi hangs together with a child that ignores being asked to end."""
    bench.mkosi(f"(trap '' TERM INT HUP; sleep {mark}) & sleep {mark}")
    process = subprocess.Popen(
        bench.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _wait(lambda: len(_running(mark)) == 2)
    return process


@pytest.fixture
def mark(request: pytest.FixtureRequest) -> str:
    """A number of seconds that no other process of the machine sleeps."""
    return f"86400.{os.getpid()}{abs(hash(request.node.name)) % 10**6}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_everything(good: Bench, mark: str, number: signal.Signals) -> None:
    process = _hang(good, mark)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err
    assert _running(mark) == []


def test_a_kill_ends_everything_and_the_next_build_cleans_up(good: Bench, mark: str) -> None:
    process = _hang(good, mark)
    process.kill()
    process.communicate()
    _wait(lambda: _running(mark) == [])
    assert good.leftovers() != []
    good.mkosi("exit 1")
    assert good.build().returncode == 4
    # half an output of a killed build is hidden, and goes with the next one
    assert good.leftovers() == []


def test_two_builds_of_one_target_at_once(good: Bench, mark: str) -> None:
    first = _hang(good, mark)
    try:
        done = good.build()
        assert done.returncode == 3
        assert "error[PVB411]" in done.stderr
        assert f"process {first.pid}" in done.stderr
    finally:
        first.terminate()
        first.communicate()


def test_verify_of_equal_builds(bench: Bench) -> None:
    done = bench.build("--verify")
    assert done.returncode == 0, done.stderr
    assert "a second build gave the same bytes" in done.stdout
    assert bench.leftovers() == []


def test_verify_names_what_differs(bench: Bench) -> None:
    disk, _, _ = clean_image(b"other root system" * 64)
    (bench.tree / "usr/share/fake/second.raw").write_bytes(disk)
    bench.mkosi(f'{SUCCEED}\ncase "$*" in *--incremental=no*) cp /usr/share/fake/second.raw "$out/image.raw" ;; esac')
    done = bench.build("--verify")
    assert done.returncode == 1
    assert "error[PVB412]" in done.stderr
    assert "partition" in done.stderr
    assert "the second one had" in done.stderr


def test_verify_with_other_packages_proves_nothing(bench: Bench) -> None:
    other = '{"packages": [{"type": "deb", "name": "dash", "version": "0.6", "architecture": "amd64"}]}'
    bench.mkosi(f'{SUCCEED}\ncase "$*" in *--incremental=no*) echo \'{other}\' >"$out/image.manifest" ;; esac')
    done = bench.build("--verify")
    assert done.returncode == 4
    assert "error[PVB414]: the second build got other packages than the first" in done.stderr


def test_verify_runs_under_other_conditions(bench: Bench) -> None:
    bench.mkosi(f'{SUCCEED}\necho "LOG $LC_ALL,$TZ,$FAKETIME" "$@"')
    assert bench.build("--verify").returncode == 0
    first = (bench.folder / "logs/mkosi.log").read_text()
    assert "--incremental=yes" in first
    assert "LOG C.UTF-8,, " in first
    bench.mkosi(f'case "$*" in *--incremental=no*) echo "LOG $LC_ALL,$TZ,$FAKETIME" "$@"; exit 1 ;; esac\n{SUCCEED}')
    assert bench.build("--verify").returncode == 4
    second = (bench.out / f"{FOLDER}.verify.log").read_text()
    assert "LOG C,Asia/Kathmandu,+400d" in second
    assert "--cache-only=always" in second
    assert "--cache-directory" not in second
    assert "/a-second-build/in-another-folder/" in second


def test_a_value_that_is_no_mirror(bench: Bench) -> None:
    done = bench.build("--mirror", "ftp://mirror.invalid")
    assert done.returncode == 2
    assert "error[PVB303]" in done.stderr


def test_a_place_that_cannot_be_written(bench: Bench) -> None:
    bench.out.write_text("a file")
    done = bench.build()
    assert done.returncode == 2
    assert "error[PVB324]" in done.stderr
    assert str(bench.out) in done.stderr
    assert bench.out.read_text() == "a file"


def test_an_image_that_is_there_is_not_made_again(bench: Bench) -> None:
    assert bench.build().returncode == 0
    before = bench.state()
    bench.mkosi("echo mkosi must not run >&2; exit 1")
    done = bench.build("--set", "platform.vcpus=[3]")
    assert done.returncode == 0, done.stderr
    assert "holds this very image" in done.stderr
    after = bench.state()
    assert {name for name in after if after[name] != before[name]} == {
        "manifest.json",
        "measurements.json",
        "report.html",
    }
    assert json.loads((bench.folder / "manifest.json").read_bytes())["platform"]["vcpus"] == [3]
    assert bench.leftovers() == []


@pytest.mark.parametrize("damage", ["image.raw", "image.efi", "manifest.json", "logs/mkosi.log"])
def test_an_image_that_is_damaged_is_made_again(bench: Bench, damage: str) -> None:
    assert bench.build().returncode == 0
    before = bench.state()
    file = bench.folder / damage
    if damage.startswith("image."):
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    else:
        file.unlink()
    done = bench.build()
    assert done.returncode == 0 and "holds this very image" not in done.stderr
    assert bench.state() == before


@pytest.mark.parametrize(
    "options", [("--fresh",), ("--set", "kernel.cmdline+=loglevel=3"), ("--set", "packages+=less")]
)
def test_another_image_is_made(bench: Bench, options: tuple[str, ...]) -> None:
    assert bench.build().returncode == 0
    done = bench.build(*options)
    assert done.returncode == 0 and "holds this very image" not in done.stderr
