"""What a build made: the content of ``manifest.json``, schema ``podvm-manifest/1``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from podvm_builder.model.fact import Facts
from podvm_builder.model.lint import Suppression
from podvm_builder.model.plan import EvidencePlan, Ids, PlatformPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One file of the output folder."""

    size: int
    """Bytes."""
    sha256: str
    """Hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRecord:
    """One package of the image."""

    name: str
    version: str
    arch: str


VERIFICATIONS = ("verified", "unverified", "selftest")
"""What is known of a component's origin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentRecord:
    """One guest component and where it stands in the image."""

    name: str
    path: str
    sha256: str
    """Hex."""
    source: str
    """``selftest``, the path of the folder it was given in, or the kind and name of a lock's source."""
    digest: str = ""
    """Of the source: an artifact's manifest, an archive, or the file itself; ``sha256:…``. Empty where an older build
    did not say."""
    licence: str = "NOASSERTION"
    """SPDX licence expression."""
    verification: str = "unverified"
    """``verified``, ``unverified``, or ``selftest`` for a stand-in of ours."""
    note: str = ""
    """Who signed it, or why it was accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageManifest:
    """Inputs, digests and identities of one built image: all that measuring and booting it need to know."""

    target: str
    profile: str
    ids: Ids
    recipe: str
    """Hex SHA-256 over every file of the recipe that mkosi was given: path, mode and content."""
    flags: tuple[str, ...]
    """``selftest``, ``debug``: what a verifier must know."""
    root_hash: str
    """dm-verity root hash, hex."""
    root_format: str
    phases: tuple[str, ...]
    """The words that the image's boot phase units extend PCR 11 with, in order; empty where they are masked."""
    platform: PlatformPlan
    evidence: EvidencePlan
    trust: Facts
    """What the machines report and no image decides, from the profile."""
    source_date_epoch: int
    tools: Mapping[str, str]
    """``spec``: id of the tools tree's specification; ``packages``: digest of what was installed in it;
    ``mkosi``, ``systemd``: versions."""
    files: Mapping[str, FileRecord]
    """``image.raw``, ``image.efi`` … by name."""
    packages: tuple[PackageRecord, ...]
    components: tuple[ComponentRecord, ...]
    suppressions: tuple[Suppression, ...] = ()
    """Findings of lint that the profile has decided to be right."""
