"""Components as asked for (a set) and as pinned (a lock): where each program comes from, and who must have made it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from podvm_builder.errors import Place
from podvm_builder.model.manifest import ComponentRecord
from podvm_builder.model.recipe import RecipeTree

PROGRAM_MODE = 0o755
DOCUMENT_MODE = 0o644


class SourceKind(StrEnum):
    """Where a component comes from."""

    ARTIFACT = "artifact"
    """An OCI artifact whose one layer is the program or an archive that holds it."""
    IMAGE = "image"
    """A path inside a container image."""
    URL = "url"
    PATH = "path"
    """A file beside the set."""
    SELFTEST = "selftest"
    """Our own stand-in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Who must have signed a component's provenance; each value is compared with the certificate's, exactly."""

    issuer: str
    """OpenID Connect issuer that vouched for the signer."""
    repository: str
    """``owner/name``."""
    workflow: str | None
    """Path of the workflow in the repository."""
    ref: str | None
    """Git ref that the workflow ran for."""
    commit: str | None
    """Git commit that it ran for, 40 hex digits."""
    server: str = "https://github.com"
    """What the repository is relative to."""
    runner: str | None = None
    """``github-hosted`` or ``self-hosted``."""
    predicate: str | None = None
    """Type of the statement's predicate; None stands for SLSA provenance of any known version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFile:
    """A file that a component puts into the image."""

    path: str
    """Absolute."""
    member: str | None
    """Path inside the archive or image; None where the source is the file itself."""
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedComponent:
    """A component as a set asks for it."""

    name: str
    kind: SourceKind
    location: str
    """A reference, a URL, or a path relative to the set; empty for selftest."""
    digest: str | None
    """Content that the set itself pins, ``sha256:…``."""
    files: tuple[WantedFile, ...]
    licence: str
    policy: Policy | None
    bundle: str | None
    """Where the bundle is, if not with the source: a path relative to the set, or a URL."""
    unverified: str | None
    """Why it is accepted without provenance; None where it is not."""
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentSet:
    """A set: what a lock is made from."""

    file: str
    arch: str
    tee: str | None
    """The tag of attestation-agent's artifact; None where it does not come from guest-components."""
    trusted_root: str
    """``sigstore``, or the path of a file relative to the set."""
    components: tuple[WantedComponent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Bytes by their digest."""

    digest: str
    """``sha256:…``."""
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer(Content):
    """A layer of an artifact or image."""

    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned(Content):
    """Content and where it was found: the trusted root, a bundle."""

    origin: str
    """``sigstore``, ``referrer``, a URL, or a path relative to the lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Content):
    """What a component was taken from; the content is a manifest, an archive or the file itself."""

    kind: SourceKind
    location: str
    """As :class:`WantedComponent` has it; of a path, relative to the lock."""
    layers: tuple[Layer, ...] = ()
    """Of an artifact or image."""
    index: str | None = None
    """Digest of the index that the manifest was chosen from by its platform; what is signed is often that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedFile(Content):
    """A file of the image."""

    path: str
    member: str | None
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedComponent:
    """A pinned component."""

    name: str
    source: Source
    licence: str
    files: tuple[LockedFile, ...]
    policy: Policy | None
    bundle: Pinned | None
    unverified: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentLock:
    """A lock: the content of ``components.lock.yaml``, schema ``podvm-components/1``."""

    arch: str
    tee: str | None
    trusted_root: Pinned | None
    """None where no component has a policy."""
    components: tuple[LockedComponent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestComponents:
    """The programs of one image."""

    identity: RecipeTree
    """What of them enters ``rootfs_id``: of a lock, its own digest."""
    files: RecipeTree
    """Path in the image, without the leading slash, to file."""
    records: tuple[ComponentRecord, ...]
    """For the manifest, sorted by path."""
    arch: str | None = None
    """What the programs are for; None where they run anywhere."""
    tee: str | None = None
    """As the lock has it."""
