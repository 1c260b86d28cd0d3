"""Fixtures that all tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# the same examples on every run, and no failure because a machine is busy
settings.register_profile("podvm", derandomize=True, deadline=None)
settings.load_profile("podvm")

# a shell without job control has what it starts in the background ignore Ctrl-C, and so would everything ignore it that
# a test starts and then interrupts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

PROJECT = Path(__file__).parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the guest's contract be tested with the real programs."""
    parser.addoption("--components", metavar="DIR", help="folder with the guest's real programs")


@pytest.fixture
def hang_up() -> Iterator[None]:
    """For the time of one test, let what it starts hear SIGHUP, which `nohup` has everything ignore."""
    before = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Folder of vectors made by other projects; they are read in place and never copied."""
    folder = PROJECT.parent / "shared" / "vectors"
    if not folder.is_dir():
        pytest.skip(f"no folder of public vectors at {folder}")
    return folder


@pytest.fixture(scope="session")
def own_vectors() -> Path:
    """Folder of the vectors that were made for this project and live in it."""
    return Path(__file__).parent / "vectors"


@pytest.fixture(scope="session")
def built_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a real build, made once per run; for tests marked `image` or `e2e`, which must not change it."""
    from tests.support.built_image import build_once

    return build_once(_shared(tmp_path_factory))


@pytest.fixture(scope="session")
def phased_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same image with boot phases on, built for the tests that ask for it."""
    from tests.support.built_image import build_once

    return build_once(_shared(tmp_path_factory), "measure.phases=true")


def _shared(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of the run have in common."""
    base = factory.getbasetemp()
    # the workers of pytest-xdist each have a folder below that of the run
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
