"""Which combinations can work, why others cannot, and what is nearest to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from podvm_builder.catalog.entries import Catalogue
from podvm_builder.errors import InputError, Place
from podvm_builder.model.axes import Target


def every_target(catalogue: Catalogue) -> Iterator[Target]:
    """Return every combination of the catalogue's axes in its production variant, possible or not."""
    for distro, tee, cloud in product(catalogue.distros, catalogue.tees, catalogue.clouds):
        for arch in catalogue.distros[distro].architectures:
            yield Target(distro=distro, tee=tee, cloud=cloud, arch=arch)


def why_not(target: Target, catalogue: Catalogue) -> str | None:
    """Return why a combination of known names cannot work, or None where it can."""
    distro, tee, cloud = catalogue.distros[target.distro], catalogue.tees[target.tee], catalogue.clouds[target.cloud]
    if tee.reason is not None:
        return tee.reason
    if target.tee in distro.tees:
        return distro.tees[target.tee]
    if target.cloud in distro.clouds:
        return distro.clouds[target.cloud]
    for owner, architectures in (
        (distro, distro.architectures),
        (tee, tee.architectures),
        (cloud, cloud.architectures),
    ):
        if target.arch not in architectures:
            return f"{owner.title} is supported on {', '.join(architectures)} only"
    if distro.builder == "packer" and (cloud.packer is None or target.arch not in cloud.packer.architectures):
        return f"{distro.title} is built by Packer, which has no known builder for {cloud.title}"
    if target.tee not in cloud.tees:
        return f"{cloud.title} does not offer {tee.title}"
    return cloud.tees[target.tee].reason


def nearest(target: Target, catalogue: Catalogue) -> tuple[Target, ...]:
    """Return the combinations that work and differ from one that does not on one axis.

    Those on the same cloud come first, the TEE that the catalogue recommends before others; giving the TEE up
    altogether is never near.
    """
    recommended = catalogue.tees[target.tee].nearest
    tees = sorted(catalogue.tees, key=lambda name: name != recommended)
    others = [replace(target, tee=tee) for tee in tees if tee != "none"]
    others += [replace(target, cloud=cloud) for cloud in catalogue.clouds]
    others += [replace(target, arch=arch) for arch in catalogue.architectures]
    return tuple(other for other in dict.fromkeys(others) if why_not(other, catalogue) is None)


def check_target(target: Target, catalogue: Catalogue, place: Place, *, in_profile: bool) -> InputError | None:
    """Return the error about a combination that cannot work, or None where it can."""
    reason = why_not(target, catalogue)
    if reason is None:
        return None
    found = nearest(target, catalogue)
    same_cloud = [other for other in found if other.cloud == target.cloud][:1]
    same_tee = [other for other in found if other.tee == target.tee][:1]
    near = " or ".join(f"`{other}`" for other in (*same_cloud, *same_tee)) or "no other combination"
    hint = f"{near} would do"
    if in_profile:
        hint += f"; in a matrix, leave it out with `exclude: [{{tee: {target.tee}, cloud: {target.cloud}}}]`"
    return InputError(f"`{target}` cannot work: {reason}", code="PVB111", place=place, hint=hint)
