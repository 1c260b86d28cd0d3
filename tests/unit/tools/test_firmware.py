"""Firmware by name: from the tree, from the archive, from the cache, from a file; absence is a value with a reason."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import InputError
from podvm_builder.tools.firmware import FirmwareFile, NotAtHand, get_firmware
from podvm_builder.tools.mirror import Mirrors
from podvm_builder.tools.tree import ToolsTree, load_tree
from tests.support.fake_tree import make_fake_tree, program_in

IMAGE = b"a firmware image" * 256

# `download` puts a file of the package's name into the working folder; dpkg-deb unpacks the image from it
APT = """#!/bin/sh
cat "$APT_CONFIG" > /mnt/fetch/config-was-read
case "$*" in *download*) cp /usr/share/fake/firmware ovmf-amdsev_2026.08-1_all.deb ;; esac
"""
DPKG_DEB = """#!/bin/sh
mkdir -p "$3/usr/share/ovmf"
cp "$2" "$3/usr/share/ovmf/OVMF.amdsev.fd"
"""
REFUSED = """#!/bin/sh
echo "E: Failed to fetch http://mirror.invalid/InRelease  Could not resolve mirror.invalid" >&2
exit 100
"""
MIRRORS = Mirrors(archive="http://mirror.invalid/debian", security=None, options=(), origin="a test")


@pytest.fixture
def tree(tmp_path: Path) -> ToolsTree:
    root = make_fake_tree(tmp_path)
    (root / "usr/share/fake/firmware").write_bytes(IMAGE)
    program_in(root, "apt-get", APT)
    program_in(root, "dpkg-deb", DPKG_DEB)
    found = load_tree(tmp_path, catalogue().tools.id)
    assert found is not None
    return found


def get(name: str, tree: ToolsTree, cache: Path, *, said: list[str] | None = None) -> FirmwareFile | NotAtHand:
    lines = [] if said is None else said
    return get_firmware(name, tree=tree, cache=cache, mirrors=MIRRORS, progress=lines.append, base=cache)


def test_what_the_tree_has(tree: ToolsTree, tmp_path: Path) -> None:
    (tree.root / "usr/share/ovmf/OVMF.fd").write_bytes(IMAGE)
    found = get("ovmf", tree, tmp_path)
    assert isinstance(found, FirmwareFile)
    assert found.data == IMAGE
    assert found.sha256 == hashlib.sha256(IMAGE).hexdigest()
    assert not found.known
    assert found.version == "2025.02-8"


def test_what_the_tree_should_have_and_has_not(tree: ToolsTree, tmp_path: Path) -> None:
    found = get("ovmf", tree, tmp_path)
    assert isinstance(found, NotAtHand)
    assert "/usr/share/ovmf/OVMF.fd" in found.reason


def test_a_fetched_image_is_kept_by_its_digest(tree: ToolsTree, tmp_path: Path) -> None:
    said: list[str] = []
    found = get("ovmf-amdsev", tree, tmp_path, said=said)
    assert isinstance(found, FirmwareFile)
    assert (found.data, found.version) == (IMAGE, "2026.08-1")
    assert said == ["fetching firmware ovmf-amdsev: ovmf-amdsev of Debian sid"]
    kept = tmp_path / "firmware" / found.sha256 / "OVMF.amdsev.fd"
    assert kept.read_bytes() == IMAGE
    # from now on nothing is fetched
    program_in(tree.root, "apt-get", REFUSED)
    assert get("ovmf-amdsev", tree, tmp_path, said=said) == found
    assert len(said) == 1
    # unless the cache does not hold what it says
    kept.write_bytes(IMAGE[:-1])
    assert isinstance(get("ovmf-amdsev", tree, tmp_path, said=said), NotAtHand)
    assert len(said) == 2
    assert list(tmp_path.glob(".fetch-*")) == []


def test_a_mirror_without_it(tree: ToolsTree, tmp_path: Path) -> None:
    program_in(tree.root, "apt-get", REFUSED)
    found = get("ovmf-amdsev", tree, tmp_path)
    assert isinstance(found, NotAtHand)
    assert "Could not resolve mirror.invalid" in found.reason


def test_a_package_without_the_file(tree: ToolsTree, tmp_path: Path) -> None:
    program_in(tree.root, "dpkg-deb", "#!/bin/sh\nmkdir $3\n")
    found = get("ovmf-amdsev", tree, tmp_path)
    assert isinstance(found, NotAtHand)
    assert found.reason == "`/usr/share/ovmf/OVMF.amdsev.fd` is not in package `ovmf-amdsev` 2026.08-1"


def test_no_archive_at_all(tree: ToolsTree, tmp_path: Path) -> None:
    mirrors = Mirrors(archive=None, security=None, options=(), origin="a test")
    found = get_firmware("ovmf-amdsev", tree=tree, cache=tmp_path, mirrors=mirrors, progress=lambda line: None)
    assert isinstance(found, NotAtHand)
    assert "--mirror" in found.reason


def test_a_file_by_its_path(tree: ToolsTree, tmp_path: Path) -> None:
    (tmp_path / "own.fd").write_bytes(IMAGE)
    for name in ("own.fd", str(tmp_path / "own.fd")):
        found = get(name, tree, tmp_path)
        assert isinstance(found, FirmwareFile)
        assert (found.name, found.data, found.known, found.version) == (name, IMAGE, False, None)


@pytest.mark.parametrize(("content", "code"), [(None, "PVB320"), (b"", "PVB323")])
def test_a_file_that_is_no_firmware(tree: ToolsTree, tmp_path: Path, content: bytes | None, code: str) -> None:
    if content is not None:
        (tmp_path / "own.fd").write_bytes(content)
    with pytest.raises(InputError) as caught:
        get("own.fd", tree, tmp_path)
    assert caught.value.code == code
