"""OCI image manifests and indexes, and Docker's older forms of the same, as values.

OCI Image Specification 1.1 (manifest.md, image-index.md), and Docker's Image Manifest V2, Schema 2. What a document is
follows from its content as well as its media type: one that could be read as either kind is refused (CVE-2021-41190).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from podvm_builder.errors import FormatError, InputError
from podvm_builder.model.oci import Descriptor, Platform, check_digest

CODE = "PVB706"
NO_PLATFORM = "PVB708"

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_INDEX)
ACCEPTED = (*MANIFESTS, *INDEXES)
"""What a client may be sent for a reference."""

MAX_MANIFEST = 4 << 20
"""Bytes; the largest that the Distribution Specification has registries take."""
_MAX_SIZE = 1 << 50
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Go's name for an architecture where it is not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One artifact, or one image for one platform."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str | None = None
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Several manifests: one a platform, or those that refer to another one."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


def parse_manifest(data: bytes, media_type: str | None = None) -> Manifest | Index:
    """Read a manifest or an index.

    Args:
        data: the document.
        media_type: what the registry or the descriptor says that it is; parameters after ``;`` do not count.

    Raises:
        FormatError: PVB706, it is neither, or not what the media type says.
    """
    document = _document(data)
    declared = _text(document, "mediaType")
    given = None if media_type is None else media_type.partition(";")[0].strip()
    if declared is not None and given in ACCEPTED and declared != given:
        raise FormatError(f"manifest: it says that it is `{declared}` and was sent as `{given}`", code=CODE)
    kind = declared or (given if given in ACCEPTED else None)
    if "manifests" in document and ("layers" in document or "config" in document):
        raise FormatError("manifest: it has both layers and manifests", code=CODE)
    if kind is None:
        kind = OCI_INDEX if "manifests" in document else OCI_MANIFEST
    if document.get("schemaVersion") != 2:
        raise FormatError("manifest: `schemaVersion` is not 2", code=CODE)
    if kind in INDEXES:
        return Index(
            media_type=kind,
            manifests=tuple(_list(document, "manifests", parse_descriptor)),
            artifact_type=_text(document, "artifactType"),
            annotations=_texts(document),
        )
    if kind in MANIFESTS:
        return Manifest(
            media_type=kind,
            config=parse_descriptor(document.get("config")),
            layers=tuple(_list(document, "layers", parse_descriptor)),
            artifact_type=_text(document, "artifactType"),
            subject=None if document.get("subject") is None else parse_descriptor(document["subject"]),
            annotations=_texts(document),
        )
    raise FormatError(f"manifest: `{kind}` is not read here", code=CODE)


def select_platform(index: Index, arch: str) -> Descriptor:
    """Return the first manifest of an index that is for Linux on an architecture.

    Args:
        index: a parsed index.
        arch: ``x86_64`` or ``amd64``, ``aarch64`` or ``arm64``, ``s390x``, ``ppc64le``.

    Raises:
        InputError: PVB708, there is none.
    """
    wanted = _ARCHITECTURES.get(arch, arch)
    for entry in index.manifests:
        platform = entry.platform
        if platform is not None and platform.os == "linux" and platform.architecture == wanted:
            return entry
    there = sorted({str(one.platform) for one in index.manifests if one.platform and one.platform.os != "unknown"})
    raise InputError(
        f"the image has nothing for `linux/{wanted}`",
        code=NO_PLATFORM,
        hint=f"it has {', '.join(there)}" if there else "none of its manifests names a platform",
    )


def parse_descriptor(value: object) -> Descriptor:
    """Read a descriptor.

    Raises:
        FormatError: PVB706, it has no type, size or digest that can be read.
    """
    if not isinstance(value, dict):
        raise FormatError("manifest: a descriptor is absent or is no object", code=CODE)
    size = value.get("size")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _MAX_SIZE:
        raise FormatError("manifest: a descriptor has no size that can be", code=CODE)
    try:
        digest = check_digest(_text(value, "digest") or "", what="manifest: a descriptor's digest")
    except InputError as error:
        raise FormatError(error.message, code=CODE) from None
    return Descriptor(
        media_type=_text(value, "mediaType") or "application/octet-stream",
        digest=digest,
        size=size,
        annotations=_texts(value),
        artifact_type=_text(value, "artifactType"),
        platform=_platform(value.get("platform")),
    )


def descriptor_to_json(descriptor: Descriptor) -> dict[str, Any]:
    """Return a descriptor as JSON values; what is empty is left out."""
    row: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }
    if descriptor.artifact_type is not None:
        row["artifactType"] = descriptor.artifact_type
    if descriptor.annotations:
        row["annotations"] = dict(descriptor.annotations)
    if descriptor.platform is not None:
        platform = descriptor.platform
        row["platform"] = {"architecture": platform.architecture, "os": platform.os}
        if platform.variant is not None:
            row["platform"]["variant"] = platform.variant
    return row


def _document(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_MANIFEST:
        raise FormatError(f"manifest: it is larger than {MAX_MANIFEST >> 20} MiB", code=CODE)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):  # UnicodeDecodeError and an integer of too many digits are ValueErrors
        raise FormatError("manifest: it is no JSON", code=CODE) from None
    if not isinstance(document, dict):
        raise FormatError("manifest: it is no JSON object", code=CODE)
    return document


def _text(document: Mapping[str, Any], key: str) -> str | None:
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise FormatError(f"manifest: `{key}` is no text", code=CODE)
    return value or None


def _texts(document: Mapping[str, Any]) -> dict[str, str]:
    value = document.get("annotations")
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise FormatError("manifest: `annotations` are no texts by name", code=CODE)
    return value


def _list(document: Mapping[str, Any], key: str, read: Callable[[object], Descriptor]) -> list[Descriptor]:
    value = document.get(key)
    if not isinstance(value, list):
        raise FormatError(f"manifest: `{key}` is absent or is no list", code=CODE)
    return [read(one) for one in value]


def _platform(value: object) -> Platform | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise FormatError("manifest: a platform is no object", code=CODE)
    return Platform(
        os=_text(value, "os") or "unknown",
        architecture=_text(value, "architecture") or "unknown",
        variant=_text(value, "variant"),
    )
