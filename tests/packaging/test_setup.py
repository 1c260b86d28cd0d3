"""`scripts/setup` on machines that lack something: one clear line and exit code 3, and nothing is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

pytestmark = pytest.mark.skipif(not (PROJECT / "scripts" / "setup").is_file(), reason="there is no checkout")

# a machine in a folder: the tools that the script needs are real, those that say what the machine is are not
REAL = ("cut", "dirname", "sha256sum", "cat", "env", "mktemp", "rm")
UNINSTALLED = "#!/bin/sh\nexit 1\n"
ORDINARY_USER = "#!/bin/sh\necho 1000\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    for name in REAL:
        program = shutil.which(name)
        assert program is not None
        (tmp_path / name).symlink_to(program)
    # a link would lose the interpreter's environment
    script(tmp_path, "python3", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    script(tmp_path, "dpkg-query", UNINSTALLED)
    script(tmp_path, "id", ORDINARY_USER)
    return tmp_path


def script(machine: Path, name: str, text: str) -> None:
    (machine / name).write_text(text, encoding="utf-8")
    (machine / name).chmod(0o755)


def setup(machine: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    shell = shutil.which("sh")
    assert shell is not None
    return subprocess.run(
        [shell, str(PROJECT / "scripts" / "setup"), *arguments],
        env={"PATH": str(machine), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_ordinary_user_is_told_what_to_install(machine: Path) -> None:
    done = setup(machine, "run")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr == (
        "setup: please run: sudo apt-get install --no-install-recommends"
        " ca-certificates debian-archive-keyring mmdebstrap uidmap util-linux\n"
    )


def test_apt_is_heard_when_it_fails(machine: Path) -> None:
    script(machine, "id", "#!/bin/sh\necho 0\n")
    script(machine, "apt-get", '#!/bin/sh\necho "E: no network for $1"\nexit 100\n')
    done = setup(machine, "run")
    assert done.returncode == 3
    assert "E: no network for update\n" in done.stderr
    assert done.stderr.endswith("mmdebstrap uidmap util-linux\n")


def test_python_is_asked_for(machine: Path) -> None:
    done = setup(machine, "run", PYTHON="python-of-nowhere")
    assert done.returncode == 3
    assert "Python 3.11 or newer is needed" in done.stderr


def test_another_system_is_told_the_names(machine: Path) -> None:
    (machine / "dpkg-query").unlink()
    done = setup(machine, "dev")
    assert done.returncode == 3
    assert "no Debian or Ubuntu" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["all"]])
def test_usage(machine: Path, arguments: list[str]) -> None:
    assert setup(machine, *arguments).returncode == 2
