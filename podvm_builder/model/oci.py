"""Names and descriptors of the OCI distribution protocol.

A reference names what a registry serves, by tag or by digest; a descriptor says what bytes that is. Both are strict:
a name with parts left out, which other tools fill with ``docker.io``, ``library`` and ``latest``, is refused, as two
tools may fill it differently. Grammar: OCI Distribution Specification 1.1, "Pulling manifests".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from podvm_builder.errors import InputError, Place

CODE = "PVB700"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]{{2,45}}\])(?::([0-9]{{1,5}}))?")
_MAX_NAME = 255
"""Characters of a registry and a repository together, as the specification asks clients to respect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What an entry of an index is for, in the words of Go: ``linux``, ``amd64``."""

    os: str
    architecture: str
    variant: str | None = None

    def __str__(self) -> str:
        """Return it as other tools write it."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Bytes of a known digest and size."""

    media_type: str
    digest: str
    """``sha256:`` and 64 lower-case hex digits."""
    size: int
    """Bytes."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str | None = None
    platform: Platform | None = None

    @property
    def title(self) -> str | None:
        """The file's name, where the artifact gives one."""
        return self.annotations.get("org.opencontainers.image.title")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A name in a registry. Where it has both, the digest says what is meant and the tag where it came from."""

    registry: str
    """Host, and port where it is not the scheme's own."""
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str, *, place: Place | None = None) -> Reference:
        """Read ``registry/repository:tag``, ``registry/repository@sha256:…`` or both.

        Raises:
            InputError: PVB700, with the part that is wrong.
        """

        def refuse(why: str, hint: str | None = None) -> InputError:
            return InputError(f"`{text}` is no reference: {why}", code=CODE, place=place, hint=hint)

        if "://" in text:
            raise refuse("it has a scheme", "write `registry/repository:tag` or `registry/repository@sha256:…`")
        rest, at, digest = text.partition("@")
        if at:
            check_digest(digest, what=f"the digest of `{text}`", place=place)
        registry, slash, path = rest.partition("/")
        if not slash or not ("." in registry or ":" in registry or registry == "localhost"):
            raise refuse(
                "it does not begin with a registry's host", "write it in full, such as `docker.io/library/busybox:1`"
            )
        repository, colon, tag = path.partition(":")
        host = _HOST.fullmatch(registry)
        if host is None or int(host[1] or 0) > 0xFFFF:
            raise refuse(f"`{registry}` is no host")
        if _REPOSITORY.fullmatch(repository) is None or len(registry) + len(repository) >= _MAX_NAME:
            raise refuse(
                f"`{repository}` is no repository", "repositories are of lower-case letters, digits, `.`, `_`, `-`, `/`"
            )
        if colon and _TAG.fullmatch(tag) is None:
            raise refuse(f"`{tag}` is no tag", "a tag has at most 128 letters, digits, `.`, `_`, `-`")
        if not colon and not at:
            raise refuse("it has neither a tag nor a digest", "name one: `latest` is not assumed")
        return cls(
            registry=registry.lower(), repository=repository, tag=tag if colon else None, digest=digest if at else None
        )

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    def pinned(self, digest: str) -> Reference:
        """Return the same name with a digest."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        """Return what :meth:`parse` reads."""
        return self.name + (f":{self.tag}" if self.tag is not None else "") + (f"@{self.digest}" if self.digest else "")


def check_digest(text: str, *, what: str = "the digest", place: Place | None = None) -> str:
    """Return a digest if it is ``sha256:`` and 64 lower-case hex digits.

    Raises:
        InputError: PVB700, saying what is wrong with it.
    """
    if _DIGEST.fullmatch(text) is not None:
        return text
    algorithm, colon, value = text.partition(":")
    if not colon:
        why = "it does not begin with `sha256:`"
    elif algorithm != "sha256":
        why = f"it begins with `{algorithm}:`, and only `sha256:` is read"
    elif re.fullmatch(r"[0-9A-Fa-f]*", value) is None:
        why = "it has characters that are not hex digits"
    elif len(value) != 64:
        why = f"it has {len(value)} hex digits instead of 64"
    else:
        why = "its hex digits are not in lower case"
    raise InputError(f"{what} is wrong: {why}", code=CODE, place=place, hint="copy it whole")
