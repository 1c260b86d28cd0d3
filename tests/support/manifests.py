"""Manifests of builds that never were, and the folders that would go with them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from podvm_builder.formats.manifest import manifest_to_json
from podvm_builder.model.manifest import FileRecord, ImageManifest
from podvm_builder.model.plan import EvidencePlan, Ids, PlatformPlan
from tests.support.disk import ESP, ROOT, build_disk, build_fat
from tests.support.pe import build_uki

QEMU = PlatformPlan(
    vmm="qemu",
    firmware="test",
    boot=("direct", "disk"),
    vcpus=(1, 2),
    cpus=("EPYC-v4",),
    guest_features=(1,),
    secure_boot="absent",
)
CLOUD = replace(QEMU, vmm="hyperv", firmware="", boot=("disk",))


def evidence(kind: str, *by: str, promised: tuple[str, ...] = ()) -> EvidencePlan:
    return EvidencePlan(
        kind=kind,
        promised=promised or by,
        identifies=bool(by),
        by=by,
        reason="as the catalogue says",
        source="a test",
    )


def build(
    target: str,
    platform: PlatformPlan,
    said: EvidencePlan,
    *,
    uki: bytes | None = None,
    phases: tuple[str, ...] = (),
    root: bytes = b"root" * 999,
) -> tuple[ImageManifest, bytes, bytes]:
    """Return a manifest, the raw image and the UKI; without a file system given, the root cannot be read."""
    kernel = build_uki() if uki is None else uki
    disk = build_disk([(ESP, build_fat({"EFI/BOOT/BOOTX64.EFI": kernel}, bits=12, cluster=4)), (ROOT, root)])
    files = {
        name: FileRecord(size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in (("image.raw", disk), ("image.efi", kernel))
    }
    manifest = ImageManifest(
        target=target,
        profile=target,
        ids=Ids(rootfs="aa" * 32, image="bb" * 32, plan="cc" * 32),
        recipe="ab" * 32,
        flags=("selftest",),
        root_hash="dd" * 32,
        root_format="erofs",
        phases=phases,
        platform=platform,
        evidence=said,
        trust={},
        source_date_epoch=0,
        tools={"spec": "ee" * 32},
        files=files,
        packages=(),
        components=(),
    )
    return manifest, disk, kernel


def write_folder(folder: Path, manifest: ImageManifest, disk: bytes, uki: bytes) -> None:
    """Write an output folder without measurements."""
    (folder / "image.raw").write_bytes(disk)
    (folder / "image.efi").write_bytes(uki)
    (folder / "manifest.json").write_text(json.dumps(manifest_to_json(manifest)), encoding="utf-8")
