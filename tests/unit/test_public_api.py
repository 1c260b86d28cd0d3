"""The public library: what is named is there, is documented, and is imported only when it is used."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import podvm_builder
from tests.support import firmware as fw

NAMES = [name for name in podvm_builder.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_documented(name: str) -> None:
    value = getattr(podvm_builder, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value)
    if inspect.isfunction(value):
        assert all(
            parameter.annotation is not parameter.empty for parameter in inspect.signature(value).parameters.values()
        )


def test_type_checkers_see_the_same() -> None:
    tree = ast.parse(Path(podvm_builder.__file__).read_text(encoding="utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {}
    for node in guarded.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            module = (node.module or "").removeprefix("podvm_builder.")
            seen[alias.asname or alias.name] = module if alias.asname is None else f"{module}:{alias.name}"
    assert seen == podvm_builder._PUBLIC
    assert set(podvm_builder.__all__) == {"__version__", *seen}


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, podvm_builder; print([m for m in sys.modules if m.startswith('podvm_builder.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="nothing_like_this"):
        podvm_builder.nothing_like_this  # noqa: B018
    assert set(NAMES) <= set(dir(podvm_builder))


def test_the_example_of_the_documentation() -> None:
    image = fw.Firmware(size=64 << 10, unique_pages=4).build()
    cpu = podvm_builder.Cpu.parse("EPYC-v4")
    seed = podvm_builder.snp_firmware_seed(image)
    digest = podvm_builder.snp_launch_digest(image, cpu=cpu, vcpus=4)
    assert podvm_builder.snp_launch_digest(image, cpu=cpu, vcpus=4, firmware_seed=seed) == digest
    assert len(digest) == 48
