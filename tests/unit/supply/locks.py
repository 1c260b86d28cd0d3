"""A lock for tests, with each kind of source."""

from __future__ import annotations

import hashlib

from podvm_builder.model.components import (
    ComponentLock,
    Layer,
    LockedComponent,
    LockedFile,
    Pinned,
    Policy,
    Source,
    SourceKind,
)


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def component(name: str, kind: SourceKind = SourceKind.PATH, **changes: object) -> LockedComponent:
    """Return a component, accepted unverified where nothing else is said."""
    oci = kind in (SourceKind.ARTIFACT, SourceKind.IMAGE)
    values: dict[str, object] = {
        "name": name,
        "source": Source(
            kind=kind,
            location="" if kind is SourceKind.SELFTEST else f"registry.example/{name}:1" if oci else name,
            digest=digest(name),
            size=7,
            layers=(Layer(digest=digest(f"{name} layer"), size=9, media_type="application/x"),) if oci else (),
            index=digest("index") if kind is SourceKind.IMAGE else None,
        ),
        "licence": "Apache-2.0",
        "files": (
            LockedFile(path=f"/usr/local/bin/{name}", member=None, mode=0o755, digest=digest(f"{name} file"), size=5),
        ),
        "policy": None,
        "bundle": None,
        "unverified": None if kind is SourceKind.SELFTEST else "a test",
    }
    return LockedComponent(**{**values, **changes})  # type: ignore[arg-type]


def example(**changes: object) -> ComponentLock:
    """Return a lock."""
    policy = Policy(issuer="https://i", repository="a/b", workflow=None, ref="refs/heads/main", commit="1" * 40)
    values: dict[str, object] = {
        "arch": "x86_64",
        "tee": "amd",
        "trusted_root": Pinned(origin="root.json", digest=digest("root"), size=3),
        "components": (
            component(
                "attestation-agent",
                SourceKind.ARTIFACT,
                policy=policy,
                bundle=Pinned(origin="referrer", digest=digest("bundle"), size=4),
                unverified=None,
            ),
            component("kata-agent", SourceKind.IMAGE),
            component("process-user-data", SourceKind.SELFTEST),
        ),
    }
    return ComponentLock(**{**values, **changes})  # type: ignore[arg-type]
