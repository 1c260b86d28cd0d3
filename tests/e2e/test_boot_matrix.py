"""What may differ from one machine to the next, and that the TPM holds what was predicted on each of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from podvm_builder.boot import prepare, run
from podvm_builder.boot.folder import read_folder
from podvm_builder.boot.machine import Machine
from podvm_builder.model.boot import Outcome
from podvm_builder.tools.cache import default_cache
from podvm_builder.tools.tree import ensure_tree
from tests.support.boots import BANKS, boot, record
from tests.support.tampering import put, take
from tests.support.tools_tree import Oracle

pytestmark = pytest.mark.e2e
COMPARED = {4, 5, 7, 9, 11, 12, 13, 14}
HASHING = "ovmf-amdsev"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One machine, and the image that it boots."""

    boot: str = "disk"
    loader: bool = False
    """systemd-boot stands between firmware and UKI."""
    secure_boot: str = "absent"
    disk: str = "virtio"
    vcpus: int = 2
    phases: bool = False
    firmware: str = ""

    def __str__(self) -> str:
        """Name the test."""
        words = [self.boot, "sd-boot" if self.loader else "", self.secure_boot, self.disk, str(self.vcpus)]
        return "-".join(filter(None, [*words, "phases" if self.phases else "", self.firmware]))


ROWS = (
    Row(vcpus=1),
    Row(disk="nvme", phases=True),
    Row(disk="sata", vcpus=4),
    Row(secure_boot="off", phases=True),
    Row(secure_boot="off", disk="nvme", vcpus=4),
    Row(secure_boot="off", disk="sata", vcpus=1),
    Row(secure_boot="on"),
    Row(secure_boot="on", disk="nvme", vcpus=1),
    Row(secure_boot="on", disk="sata", vcpus=4, phases=True),
    Row(loader=True),
    Row(loader=True, secure_boot="on", disk="nvme", vcpus=1),
    Row(boot="direct"),
    Row(boot="direct", disk="nvme", vcpus=4, phases=True),
    Row(boot="direct", secure_boot="off", disk="sata", vcpus=1),
    Row(boot="direct", secure_boot="on"),
    Row(boot="direct", secure_boot="on", disk="nvme", vcpus=4, phases=True),
    Row(boot="direct", firmware=HASHING),
)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_machine(request: pytest.FixtureRequest, tmp_path: Path, row: Row) -> None:
    built: Path = request.getfixturevalue("phased_image" if row.phases else "built_image")
    folder = shutil.copytree(built, tmp_path / "image")
    if row.loader:
        put_loader(folder)
    described: dict[str, object] = {
        "boot": row.boot + (f", {row.firmware}" if row.firmware else ""),
        "loader": "systemd-boot" if row.loader else "UKI",
        "secure_boot": row.secure_boot,
        "disk": row.disk,
        "vcpus": row.vcpus,
        "phases": row.phases,
    }
    if row.firmware:
        record("matrix", ROWS.index(row), str(row), {**described, "skipped": "the firmware is not at hand"})
        require_firmware(row.firmware)
    options = ["--boot", row.boot, "--secure-boot", row.secure_boot, "--disk", row.disk, "--smp", str(row.vcpus)]
    seen = boot(folder, *options, *(["--firmware", row.firmware] if row.firmware else []))
    result = {
        "compared": seen.compared,
        "equal": seen.compared - seen.unequal,
        "outcome": seen.document["outcome"],
        "versions": seen.document["versions"],
    }
    record("matrix", ROWS.index(row), str(row), {**described, **result})
    assert (seen.code, seen.document["outcome"], seen.document["proved"]) == (0, "up", True), seen.talk
    # firmware that checks kernel hashes has habits of its own in these two
    wanted = COMPARED - ({4, 5} if row.firmware else set())
    assert seen.equal >= {(pcr, alg) for pcr in wanted for alg in BANKS}
    assert all(register["explained"] for register in seen.document["registers"])
    words = {register["phase"] for register in seen.document["registers"] if register["register"] == "tpm.pcr11"}
    assert words == ({"sysinit", "ready"} if row.phases else {None})


def put_loader(folder: Path) -> None:
    """Put systemd-boot before the UKI, and have the documents say so."""
    tools = Oracle(folder)
    loader = tools.path("usr/lib/systemd/boot/efi/systemd-bootx64.efi").read_bytes()
    take(folder, tools, "EFI/BOOT/BOOTX64.EFI")
    put(folder, tools, "EFI/Linux/podvm.efi", (folder / "image.efi").read_bytes())
    put(folder, tools, "EFI/BOOT/BOOTX64.EFI", loader)
    put(folder, tools, "loader/loader.conf", b"timeout 0\n")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["image.raw"]["sha256"] = hashlib.sha256((folder / "image.raw").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    command = [sys.executable, "-m", "podvm_builder", "measure", "image", str(folder), "--format", "json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    (folder / "measurements.json").write_bytes(done.stdout)


def require_firmware(name: str) -> None:
    """Skip where a firmware would have to be fetched."""
    if not (default_cache() / "firmware" / f"{name}.txt").is_file():
        pytest.skip(f"firmware {name} is not in the cache")


def test_firmware_refuses_a_kernel_that_the_hashes_do_not_cover(built_image: Path, tmp_path: Path) -> None:
    """The table is that of the build, as in the launch digest: real firmware holds the UKI to it, without SNP."""
    require_firmware(HASHING)
    folder = shutil.copytree(built_image, tmp_path / "image")
    kernel = bytearray((folder / "image.efi").read_bytes())
    kernel[kernel.index(b"PRETTY_NAME=") + 14] ^= 0x20
    (folder / "image.efi").write_bytes(kernel)
    seen = boot(folder, "--boot", "direct", "--firmware", HASHING, "--timeout", "60")
    # it says nothing and stands still; it had measured its own settings, and never measures the UKI
    assert (seen.code, seen.document["outcome"]) == (1, "timeout"), seen.talk
    assert {event["pcr"] for event in seen.document["events"]} >= {0, 7}
    assert not any(event["pcr"] in (9, 11) for event in seen.document["events"])
    # firmware that checks no hashes starts the same UKI, and it is seen
    plain = boot(folder, "--boot", "direct")
    assert (plain.document["outcome"], plain.different) == ("up", {4, 9, 11}), plain.talk


@pytest.mark.parametrize(("path", "unsigned"), [("disk", "sign_image"), ("direct", "sign_program")])
def test_firmware_with_keys_refuses_a_program_that_is_not_signed(
    built_image: Path, monkeypatch: pytest.MonkeyPatch, path: str, unsigned: str
) -> None:
    """Also where QEMU hands it over, and a signed one lies on the disk, which the firmware then goes on to."""
    monkeypatch.setattr(prepare.SigningKeys, unsigned, lambda _self, program: program)
    said: list[str] = []
    result, _ = run.boot(
        read_folder(built_image),
        tree=ensure_tree(cache=default_cache(), progress=said.append),
        cache=default_cache(),
        machine=Machine(secure_boot="on", boot=path),
        timeout=120,
        say=said.append,
    )
    assert result.outcome is Outcome.REFUSED, said
    if path == "disk":
        assert not any(extend.pcr == 11 for extend in result.extends)
