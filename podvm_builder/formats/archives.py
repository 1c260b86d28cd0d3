"""Archives and container images of a tree of files, with the same bytes for the same files.

Specifications: POSIX.1-2001 (pax interchange format); OCI Image Format Specification 1.1: image layout, index, manifest
and configuration.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from podvm_builder.model.recipe import RecipeTree

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "s390x": "s390x", "ppc64le": "ppc64le"}
"""``uname -m`` to Go's names, which OCI takes."""

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"


def tar(tree: RecipeTree, *, mtime: int) -> bytes:
    """Return a tar of a tree: sorted, of user and group 0, every folder before what is in it.

    Args:
        tree: path to file.
        mtime: of every member, seconds since 1970 UTC.
    """
    folders = {str(parent) for path in tree for parent in _parents(path)}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted({*tree, *folders}):
            member = tarfile.TarInfo(path)
            member.mtime = mtime
            if path in folders:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
            else:
                member.mode, member.size = tree[path].mode, len(tree[path].data)
                archive.addfile(member, io.BytesIO(tree[path].data))
    return out.getvalue()


def image_layout(layer: bytes, *, arch: str, created: int, labels: Mapping[str, str]) -> dict[str, bytes]:
    """Return the OCI layout of an image with one layer: path in its folder to content.

    The layer is not compressed: compressors give other bytes from one version to another.

    Args:
        layer: a tar.
        arch: as ``uname -m`` spells it.
        created: seconds since 1970 UTC.
        labels: of the image.
    """
    blobs: dict[str, bytes] = {}

    def blob(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    platform = {"architecture": ARCHITECTURES[arch], "os": "linux"}
    layers = [blob(layer, _LAYER)]
    config = {
        "created": datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **platform,
        "config": {"Labels": dict(labels)},
        "rootfs": {"type": "layers", "diff_ids": [layers[0]["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": blob(_json(config), _CONFIG),
        "layers": layers,
        "annotations": dict(labels),
    }
    index = {
        "schemaVersion": 2,
        "mediaType": _INDEX,
        "manifests": [{**blob(_json(manifest), _MANIFEST), "platform": platform}],
    }
    return {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": _json(index), **blobs}


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
