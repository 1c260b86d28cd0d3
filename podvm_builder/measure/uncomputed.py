"""Registers of TEEs that images can be made for, and whose values this release does not compute."""

from __future__ import annotations

from podvm_builder.model.measurement import Measurement, Status

REGISTERS = {
    "se": ("se.tag", "se.image_phkh"),
    "cca": ("cca.rim", "cca.rem0", "cca.rem1", "cca.rem2", "cca.rem3"),
}
"""By TEE, what its evidence holds."""


def not_computed(tee: str) -> tuple[Measurement, ...]:
    """Return a row without a value for each register of a TEE of :data:`REGISTERS`."""
    reason = f"this release does not compute the measurements of `{tee}`"
    return tuple(
        Measurement(register=register, alg="sha256", status=Status.NOT_COMPUTED, reason=reason)
        for register in REGISTERS[tee]
    )
