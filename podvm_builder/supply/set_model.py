"""The component set as a model: what its JSON Schema is generated from and what shapes are checked by."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _exact(value: Any) -> Any:
    return value if type(value) is int else str(value)  # `1.0` and `true` equal 1, too


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class Verify(_Model):
    """Whose provenance a component must have; every value is compared exactly with the signing certificate's."""

    repository: Annotated[str, Field(examples=["kata-containers/kata-containers"])] | None = None
    """Repository whose workflow made the component, `owner/name`."""
    workflow: Annotated[str, Field(examples=[".github/workflows/release.yaml"])] | None = None
    """Path of the workflow in the repository."""
    ref: Annotated[str, Field(examples=["refs/heads/main"])] | None = None
    """Git ref that the workflow ran for."""
    commit: str | None = None
    """Git commit that the workflow ran for, 40 hex digits."""
    issuer: str | None = None
    """OpenID Connect issuer; GitHub Actions' by default."""
    server: Annotated[str, Field(examples=["https://github.com"])] | None = None
    """What the repository is relative to; `https://github.com` by default."""
    runner: Literal["github-hosted", "self-hosted"] | None = None
    """Whose machine the workflow ran on."""
    predicate: str | None = None
    """Type of the signed statement's predicate; SLSA provenance by default."""
    bundle: Annotated[str, Field(examples=["kata-agent.sigstore.json"])] | None = None
    """File beside the set, or URL, of the Sigstore bundle; by default it is a referrer of the artifact, or beside the
    URL with `.sigstore.json` added."""


class Unverified(_Model):
    """A component that is accepted without provenance; the lock and every image's manifest repeat it."""

    reason: str
    """Why, in words."""


class Release(_Model):
    """An upstream release as its workflow publishes it."""

    reference: str
    """Commit, or name of the release, that the tags begin with."""
    registry: str | None = None
    """Where the artifacts are."""
    licence: str | None = None
    """SPDX licence expression; `Apache-2.0` by default."""
    verify: Verify | None = None
    """Whose provenance they must have; what is not said is the project's own repository and the reference's commit."""
    unverified: Unverified | None = None
    """Accept them without provenance."""


class Pause(_Model):
    """The pause image, which becomes the bundle `/pause_bundle`."""

    image: Annotated[str, Field(examples=["registry.k8s.io/pause:3.9"])]
    """Container image."""
    file: str | None = None
    """Path of the program in the image; `/pause` by default."""
    licence: str | None = None
    """SPDX licence expression; `Apache-2.0` by default."""
    verify: Verify | None = None
    """Whose provenance it must have."""
    unverified: Unverified | None = None
    """Accept it without provenance."""


class Component(_Model):
    """One program: exactly one of `artifact`, `image`, `url`, `path` and `selftest` says where it comes from."""

    artifact: Annotated[str, Field(examples=["ghcr.io/acme/azure-ready:1.2"])] | None = None
    """OCI artifact with one layer, which is the program or an archive."""
    image: str | None = None
    """Container image."""
    url: str | None = None
    """`https://…` of the program or an archive."""
    path: str | None = None
    """File beside the set: the program or an archive."""
    selftest: Literal[True] | None = None
    """Our own stand-in."""
    file: str | None = None
    """Path inside the archive or image; without it an artifact's layer, a URL or a path is the program itself."""
    sha256: str | None = None
    """What a URL or path must have, hex."""
    install: Annotated[str, Field(examples=["/usr/local/bin/azure-ready"])] | None = None
    """Path in the PodVM image; `/usr/local/bin/` and the component's name by default."""
    licence: str | None = None
    """SPDX licence expression; `NOASSERTION` by default."""
    verify: Verify | None = None
    """Whose provenance it must have."""
    unverified: Unverified | None = None
    """Accept it without provenance."""


class SetDocument(_Model):
    """A component set of podvm-build: what `components lock` pins."""

    schema_: Annotated[Literal[1], BeforeValidator(_exact), Field(alias="schema")]
    """Version of this document's form."""
    arch: Literal["x86_64", "aarch64", "s390x", "ppc64le"] | None = None
    """Processor architecture, `x86_64` by default."""
    tee: Annotated[str, Field(examples=["amd", "tdx", "az-cvm-vtpm"])] | None = None
    """Tag of attestation-agent's artifact; needed with `guest-components`."""
    trusted_root: Annotated[str, Field(examples=["trusted_root.json"])] | None = None
    """Sigstore trusted root: a file beside the set, or `sigstore` for the copy in the sigstore library, the default."""
    kata: Release | None = None
    """kata-agent, from kata-containers' `cached-artefacts`."""
    guest_components: Annotated[Release | None, Field(alias="guest-components")] = None
    """attestation-agent, confidential-data-hub and api-server-rest."""
    pause: Pause | None = None
    """The pause image."""
    components: dict[str, Component] | None = None
    """Further programs by name; one that a release gives too takes its place."""
