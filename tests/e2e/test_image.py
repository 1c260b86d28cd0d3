"""The image that a real build made: what its manifest says holds, and dm-verity's own tool agrees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podvm_builder.formats.gpt import parse_gpt
from podvm_builder.formats.manifest import manifest_from_json
from podvm_builder.tools.files import FileReader, sha256_file
from tests.support.tools_tree import Oracle

pytestmark = pytest.mark.image


def test_the_folder_is_whole_and_is_what_the_manifest_says(built_image: Path) -> None:
    manifest = manifest_from_json(json.loads((built_image / "manifest.json").read_bytes()))
    for name, record in manifest.files.items():
        assert (built_image / name).stat().st_size == record.size
        assert sha256_file(built_image / name) == record.sha256
    assert "selftest" in manifest.flags
    assert {"linux-image-cloud-amd64", "systemd"} <= {package.name for package in manifest.packages}
    names = {str(path.relative_to(built_image)) for path in built_image.rglob("*") if path.is_file()}
    assert names >= {
        "image.raw",
        "image.efi",
        "manifest.json",
        "measurements.json",
        "logs/mkosi.log",
        "reference-values/NOTICE.txt",
        "reference-values/attestation-policy.rego",
        "reference-values/rvps-sample.json",
        "reference-values/rvps-message.json",
        "reference-values/operator-configmap.yaml",
    }


def test_veritysetup_accepts_the_root_with_the_hash_of_the_manifest(built_image: Path, tmp_path: Path) -> None:
    manifest = manifest_from_json(json.loads((built_image / "manifest.json").read_bytes()))
    with FileReader(built_image / "image.raw") as reader:
        for partition in parse_gpt(reader).partitions:
            (tmp_path / partition.name).write_bytes(reader.read_at(partition.offset, partition.size))
    Oracle(tmp_path).run("/usr/sbin/veritysetup", "verify", "root-x86-64", "root-x86-64-verity", manifest.root_hash)
