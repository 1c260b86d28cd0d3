"""A profile's axes, expanded to targets."""

from __future__ import annotations

from itertools import product

from podvm_builder.catalog.entries import Catalogue
from podvm_builder.errors import InputError, InputErrors, Place
from podvm_builder.model.axes import Target
from podvm_builder.planning.profile import AXES, Profile
from podvm_builder.planning.support import check_target


def expand(profile: Profile, catalogue: Catalogue) -> tuple[Target, ...]:
    """Return the targets of a profile: every combination of its axes, less those excluded.

    Raises:
        InputErrors: combinations that cannot work (PVB111), an exclusion that excludes nothing (PVB114), or
            nothing left (PVB114).
    """
    everything: list[tuple[Target, Place]] = []
    for choices in product(*(profile.axes[axis] for axis in AXES)):
        distro, tee, cloud, arch, variant = (choice.name for choice in choices)
        target = Target(
            distro=distro, tee=tee, cloud=cloud, arch=arch, variant=variant, features=tuple(profile.features)
        )
        everything.append((target, choices[AXES.index("tee")].place))
    errors = [
        InputError(
            "an exclusion matches no combination of this profile",
            code="PVB114",
            place=exclusion.place,
            hint="mend or drop it: what it was meant to leave out is not left out",
        )
        for exclusion in profile.exclude
        if not any(exclusion.matches(target) for target, _ in everything)
    ]
    kept = [(target, place) for target, place in everything if not any(row.matches(target) for row in profile.exclude)]
    if not kept:
        place = profile.exclude[0].place
        errors.append(InputError("every combination is excluded", code="PVB114", place=place))
    for target, place in kept:
        error = check_target(target, catalogue, place, in_profile=profile.file is not None)
        if error is not None:
            errors.append(error)
    if errors:
        raise InputErrors(tuple(errors))
    return tuple(target for target, _ in kept)
