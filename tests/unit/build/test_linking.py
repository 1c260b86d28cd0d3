"""The check of a built image: its components find what they are linked with, or the build ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from podvm_builder.build.linking import check_linking
from podvm_builder.errors import Finding
from podvm_builder.guest.components import unlocked_components
from podvm_builder.model.components import GuestComponents
from podvm_builder.model.recipe import RecipeFile
from tests.support.disk import ESP, ROOT, build_disk, build_fat
from tests.support.elf import elf_program
from tests.support.pe import build_uki
from tests.support.trees import build_squashfs

LOADER = "usr/lib64/ld-linux-x86-64.so.2"


def image(folder: Path, root: bytes) -> Path:
    esp = build_fat({"EFI/BOOT/BOOTX64.EFI": build_uki(cmdline=b"quiet")}, bits=12, cluster=4)
    path = folder / "image.raw"
    path.write_bytes(build_disk([(ESP, esp), (ROOT, root)]))
    return path


def agent(*needed: str) -> GuestComponents:
    data = elf_program(interpreter=f"/{LOADER}", needed=needed)
    files = {"usr/local/bin/agent": RecipeFile(data=data, mode=0o755), "etc/agent.conf": RecipeFile(data=b"x")}
    return unlocked_components(files, source="/srv/agents")


def test_a_program_whose_libraries_the_image_has(tmp_path: Path) -> None:
    root = build_squashfs({LOADER: b"x", "usr/lib/x86_64-linux-gnu/libc.so.6": b"x"})
    assert check_linking(image(tmp_path, root), agent("libc.so.6")) == ()


def test_a_program_whose_library_the_image_lacks(tmp_path: Path) -> None:
    root = build_squashfs({LOADER: b"x", "usr/lib/x86_64-linux-gnu/libc.so.6": b"x"})
    with pytest.raises(Finding) as caught:
        check_linking(image(tmp_path, root), agent("libc.so.6", "libtss2-esys.so.0", "\x1b[1m.so"))
    assert caught.value.code == "PVB758" and "`packages`" in (caught.value.hint or "")
    assert "\n  | /usr/local/bin/agent needs libtss2-esys.so.0" in caught.value.message
    assert "libc" not in caught.value.message and "\x1b" not in caught.value.message


def test_a_root_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (note,) = check_linking(image(tmp_path, bytes(8192)), agent())
    assert note.startswith("what the components are linked with was not checked: ")
    (tmp_path / "image.raw").write_bytes(b"no disk")
    (note,) = check_linking(tmp_path / "image.raw", agent())
    assert note.startswith("what the components are linked with was not checked: ")
