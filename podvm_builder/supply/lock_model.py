"""The component lock as a model: what its shape is checked by and its JSON Schema is generated from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from podvm_builder.model.components import SourceKind

SCHEMA = "podvm-components/1"

Count = Annotated[int, Field(ge=0)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class Layer(_Model):
    """A layer of an artifact or image."""

    digest: str
    """`sha256:…`."""
    size: Count
    """Bytes."""
    media_type: str
    """As the manifest has it."""


class Pinned(_Model):
    """Bytes and where they were found."""

    origin: str
    """`sigstore`, `referrer`, a URL, or a path relative to the lock."""
    digest: str
    """`sha256:…`."""
    size: Count
    """Bytes."""


class SourceModel(_Model):
    """What a component was taken from."""

    kind: Annotated[SourceKind, Field(strict=False)]
    """How it is fetched."""
    location: str
    """A reference, a URL, or a path relative to the lock; empty for a stand-in."""
    digest: str
    """Of the manifest, the archive, or the program."""
    size: Count
    """Bytes of the same."""
    layers: list[Layer]
    """Of an artifact or image."""
    index: str | None
    """Digest of the index that the manifest was chosen from."""


class Provenance(_Model):
    """Whose provenance the source has."""

    issuer: str
    repository: str
    server: str
    workflow: str | None
    ref: str | None
    commit: str | None
    runner: str | None
    predicate: str | None
    bundle: Pinned
    """The Sigstore bundle."""


class Unverified(_Model):
    """The component was accepted without provenance."""

    reason: str


class FileModel(_Model):
    """A file of the PodVM image."""

    path: str
    """Absolute."""
    member: str | None
    """Path inside the archive or image."""
    mode: Literal["0755", "0644"]
    """Permission bits, octal."""
    digest: str
    """`sha256:…`."""
    size: Count
    """Bytes."""


class ComponentModel(_Model):
    """A pinned component."""

    name: str
    source: SourceModel
    licence: str
    """SPDX licence expression."""
    provenance: Provenance | None
    unverified: Unverified | None
    files: Annotated[list[FileModel], Field(min_length=1)]


class LockDocument(_Model):
    """A component lock of podvm-build, written by `components lock`."""

    schema_: Annotated[Literal["podvm-components/1"], Field(alias="schema")]
    digest: str
    """SHA-256 over the canonical JSON (RFC 8785) of everything else here."""
    arch: str
    tee: str | None
    trusted_root: Pinned | None
    components: list[ComponentModel]
