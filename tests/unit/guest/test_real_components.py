"""The contract against the real programs, where `--components DIR` of pytest names a folder that holds them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from podvm_builder.guest.components import COMPONENTS, place_components
from podvm_builder.guest.payload import payload
from podvm_builder.model.recipe import RecipeFile
from tests.support.plans import selftest_plan

FLAGS = {
    "agent-protocol-forwarder": (
        "-help",
        ("-listen", "-disable-tls", "-ca-cert-file", "-kata-agent-socket", "-pod-namespace"),
    ),
    "attestation-agent": ("--help", ("--config-file", "--attestation_sock")),
    "confidential-data-hub": ("--help", ("--config",)),
    "api-server-rest": ("--help", ("--features",)),
    "kata-agent": ("--help", ("--config",)),
    "process-user-data": ("help", ("provision-files",)),
}
"""What our units and files tell each program, and how it is asked what it takes."""


@pytest.fixture
def real(request: pytest.FixtureRequest) -> Path:
    folder = request.config.getoption("--components")
    if folder is None:
        pytest.skip("no `--components DIR` with the real programs")
    return Path(folder)


def test_every_program_is_there_and_goes_where_the_units_look(real: Path) -> None:
    placed = place_components([path.name for path in real.iterdir()], folder=str(real))
    components = {path: RecipeFile(data=(real / name).read_bytes(), mode=0o755) for name, path in placed.items()}
    tree = payload(selftest_plan("debian-13/snp/libvirt"), components)
    assert all(tree[path].data.startswith(b"\x7fELF") for path in placed.values())


@pytest.mark.parametrize("name", [component.name for component in COMPONENTS])
def test_a_program_takes_what_its_unit_tells_it(real: Path, name: str) -> None:
    option, words = FLAGS[name]
    done = subprocess.run([real / name, option], check=False, capture_output=True, text=True, timeout=60)
    for word in words:
        assert word in done.stdout + done.stderr
