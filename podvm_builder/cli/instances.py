"""The instance types that ``measure snp --instance`` names."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from podvm_builder.catalog.instance_types import Instance, instances
from podvm_builder.errors import InputError, Place

_PLACE = Place(file="--instance")


def find_instances(names: Sequence[str]) -> tuple[Instance, ...]:
    """Return the instance types of one cloud that were asked for, each as ``cloud:type``.

    Raises:
        InputError: PVB150, an unknown one; PVB151, its launch digest cannot be predicted; PVB152, several that one
            firmware and one CPU model do not fit.
    """
    found = tuple(map(_find, names))
    if len({(instance.vmm, instance.cpu) for instance in found}) > 1:
        raise InputError(
            "instances of several clouds or CPU models: one firmware is one cloud's",
            code="PVB152",
            place=_PLACE,
            hint="call the command once for each",
        )
    return found


def _find(name: str) -> Instance:
    known = instances()
    instance = known.get(name)
    if instance is None:
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        raise InputError(
            f"no instance type `{name}` with a TEE is known",
            code="PVB150",
            place=_PLACE,
            hint=(f"did you mean {' or '.join(f'`{one}`' for one in near)}? " if near else "")
            + "`podvm-build list instances` shows all",
        )
    if instance.not_predicted is not None:
        raise InputError(f"`{name}`: {instance.not_predicted}", code="PVB151", place=_PLACE)
    return instance
