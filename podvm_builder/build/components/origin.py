"""Whose a component is: its bundles against its policy and a trusted root."""

from __future__ import annotations

from collections.abc import Sequence

from podvm_builder.errors import Finding, FormatError
from podvm_builder.model.components import Pinned, Policy, Source
from podvm_builder.tools.provenance import Signer, verify_bundle

_SHOWN = 3


def choose_bundle(
    name: str, found: Sequence[tuple[Pinned, bytes]], *, root: bytes, source: Source, policy: Policy
) -> tuple[Pinned, Signer]:
    """Return the first of several bundles that proves a source's origin, and who signed it.

    An artifact may have others beside it, such as a bill of materials: they prove nothing that is wanted here.

    Raises:
        Finding: PVB750, none does; PVB754, there is none.
        FormatError: PVB753, the trusted root is none.
        Lacking: PVB752, the library for it is not installed.
    """
    if not found:
        raise Finding(
            f"`{name}`: {source.location or source.digest} has no Sigstore bundle",
            code="PVB754",
            hint="name one with `verify: {bundle: …}`, or accept the component with `unverified: {reason: …}`",
        )
    reasons = []
    for pinned, data in found:
        try:
            return pinned, check_origin(name, data, root=root, source=source, policy=policy)
        except (Finding, FormatError) as error:
            if error.code == "PVB753":
                raise
            if len(found) == 1:
                raise
            reasons.append(error.message)
    more = f" and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    raise Finding(
        f"`{name}`: none of {len(found)} bundles proves its origin: {'; '.join(reasons[:_SHOWN])}{more}", code="PVB750"
    )


def check_origin(name: str, bundle: bytes, *, root: bytes, source: Source, policy: Policy) -> Signer:
    """See that a bundle proves a source's origin: for what it is, or for the index that it was chosen from.

    Raises:
        Finding: PVB750, it does not.
        FormatError: PVB751, it is none; PVB753, the trusted root is none.
        Lacking: PVB752, the library for it is not installed.
    """
    subjects = [source.digest, *([source.index] if source.index is not None else [])]
    for left, subject in enumerate(reversed(subjects), 1):
        try:
            return verify_bundle(bundle, trusted_root=root, sha256=subject.removeprefix("sha256:"), policy=policy)
        except (Finding, FormatError) as error:
            if left == len(subjects) or not isinstance(error, Finding):
                raise _named(name, error) from error
    raise AssertionError("a source has a digest")


def _named(name: str, error: Finding | FormatError) -> Finding | FormatError:
    if isinstance(error, Finding):
        return Finding(f"`{name}`: {error.message}", code=error.code, hint=error.hint)
    return FormatError(f"`{name}`: {error.what}", code=error.code, hint=error.hint)
