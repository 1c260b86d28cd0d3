"""Keys and signatures of a boot: made by the tools tree's programs, read by ours, and judged by sbverify."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from podvm_builder.boot.firmware import VARIABLES
from podvm_builder.boot.keys import SigningKeys
from podvm_builder.errors import BuildFailed
from podvm_builder.formats.efi_siglist import Signature
from podvm_builder.formats.gpt import parse_gpt
from podvm_builder.formats.pe import authenticode
from podvm_builder.formats.varstore import parse_variable_store
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.secure_boot import Keys, authority
from podvm_builder.tools.files import FileReader
from tests.support.disk import ESP, ROOT, build_disk
from tests.support.pe import build_uki
from tests.support.tools_tree import Oracle


@pytest.fixture
def signing(tmp_path: Path) -> SigningKeys:
    oracle = Oracle(tmp_path)
    for program in ("/usr/bin/virt-fw-vars", "/usr/bin/sbsign", "/usr/bin/mcopy", VARIABLES):
        oracle.path(program)
    oracle.run("/usr/bin/true")  # skips where the tree cannot be entered
    return SigningKeys(oracle.tree, tmp_path)


def make_disk(folder: Path, *, spare: int) -> Path:
    """Return a disk with a UKI in its EFI system partition, and so many bytes of that left free."""
    oracle = Oracle(folder)
    (folder / "uki.efi").write_bytes(build_uki())
    (folder / "filler").write_bytes(b"")
    oracle.run("/usr/bin/mformat", "-i", "esp.fat", "-C", "-T", "8192", "-h", "2", "-s", "32", "-c", "1", "::")
    oracle.run("/usr/bin/mmd", "-i", "esp.fat", "::/EFI", "::/EFI/BOOT")
    oracle.run("/usr/bin/mcopy", "-i", "esp.fat", "uki.efi", "::/EFI/BOOT/BOOTX64.EFI")
    listing = oracle.run("/usr/bin/mdir", "-i", "esp.fat", "::/").decode()
    free = int("".join(re.findall(r"([0-9 ]+) bytes free", listing)).replace(" ", ""))
    (folder / "filler").write_bytes(bytes(free - spare))
    oracle.run("/usr/bin/mcopy", "-i", "esp.fat", "filler", "::/filler")
    image = folder / "image.raw"
    image.write_bytes(build_disk([(ESP, (folder / "esp.fat").read_bytes()), (ROOT, b"root" * 1024)]))
    return image


def test_firmware_with_these_keys_starts_the_signed_copy_and_nothing_else(signing: SigningKeys, tmp_path: Path) -> None:
    image = make_disk(tmp_path, spare=1 << 16)
    before = image.read_bytes()
    store = parse_variable_store(signing.enrol(VARIABLES).read_bytes())
    keys = Keys.from_store(store)
    assert store.secure_boot
    copy = signing.sign_image(image)
    assert image.read_bytes() == before
    verdicts, tables = [], []
    for path in (copy, image):
        with FileReader(path) as reader:
            artifacts = read_boot_artifacts(reader)
            uki = artifacts.uki
            digest = authenticode(uki.reader, ("sha256",), uki.image)["sha256"]
            verdicts.append(authority(keys, uki.reader, uki.image, digest))
            tables.append(parse_gpt(reader))
            if path == copy:
                (tmp_path / "signed.efi").write_bytes(uki.reader.read_at(0, uki.reader.size))
    assert isinstance(verdicts[0], Signature)
    assert verdicts[0].data in keys.db
    assert verdicts[1] == "it is not signed"
    assert tables[0] == tables[1]
    assert copy.read_bytes().count(b"root" * 1024) == 1
    # the oracle agrees with what we read
    Oracle(tmp_path).run("/usr/bin/sbverify", "--cert", "db.crt", "signed.efi")
    (tmp_path / "lone.efi").write_bytes(build_uki())
    alone = signing.sign_program(tmp_path / "lone.efi")
    Oracle(tmp_path).run("/usr/bin/sbverify", "--cert", "db.crt", alone.name)
    assert Oracle(tmp_path).attempt("/usr/bin/sbverify", "--cert", "KEK.crt", "signed.efi").returncode != 0


def test_a_partition_without_room_for_the_signature_is_said(signing: SigningKeys, tmp_path: Path) -> None:
    image = make_disk(tmp_path, spare=512)
    signing.enrol(VARIABLES)
    with pytest.raises(BuildFailed) as raised:
        signing.sign_image(image)
    assert raised.value.code == "PVB516"
    assert "`mcopy` of the tools tree failed: Disk full" in raised.value.message


def test_a_program_that_fails_is_named(signing: SigningKeys) -> None:
    with pytest.raises(BuildFailed) as raised:
        signing.enrol("/usr/share/OVMF/no-such-store.fd")
    assert raised.value.code == "PVB516"
    assert "`virt-fw-vars` of the tools tree failed" in raised.value.message
