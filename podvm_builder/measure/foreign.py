"""PCRs of images that start with shim or GRUB: what is settled, and for the rest the reason why it is not.

Sources: boots of shim 16.1 with GRUB 2.06, whose logs show the kernel measured twice; the shim and GRUB manuals. How
often a kernel is measured, and which commands and files GRUB measures, follows the versions and the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from podvm_builder.measure.artifacts import GRUB, SHIM, ForeignBoot
from podvm_builder.measure.boot_log import DISK
from podvm_builder.measure.platform import LEARNT, platform_gaps, profile_basis
from podvm_builder.measure.tpm import fold
from podvm_builder.measure.tpm_boot import PLATFORM_REASONS
from podvm_builder.model.measurement import Measurement, Status
from podvm_builder.model.platform import PlatformProfile, Slot

_KERNEL = "how often the kernel is measured follows the versions of shim and GRUB: learn it from a machine"
_REASONS: Mapping[str, Mapping[int, str]] = {
    GRUB: {
        4: _KERNEL,
        5: "whether GRUB adds to it is not settled here",
        7: "keys and authorities of images that GRUB starts are not settled here",
        8: "each command that GRUB runs, with the names of its devices",
        9: "each file that GRUB reads, and what the kernel measures of its command line and initrd",
    },
    SHIM: {
        4: _KERNEL,
        5: "whether what shim starts adds to it is not settled here",
        7: "shim adds its revocation list (SbatLevel) and the key that verified the next program",
        8: "what shim starts may measure its commands there",
        9: "what shim starts may measure the files that it reads there",
        14: "shim's lists of machine owner keys: a machine's state",
    },
}
_OTHERS = "what the boot loader starts is not settled by the image alone"


def predict_foreign(
    found: ForeignBoot, *, secure_boot: str, banks: Sequence[str], profile: PlatformProfile | None = None
) -> tuple[Measurement, ...]:
    """Return a row for PCRs 0 to 15 of every bank: the platform's values as far as a profile has them, else reasons."""
    reasons = _REASONS[found.loader]
    learnt = {} if profile is None else _learnt(profile, found, banks)
    rows = []
    for pcr in range(16):
        status = Status.PLATFORM if pcr in PLATFORM_REASONS else Status.UNPREDICTABLE
        reason = PLATFORM_REASONS.get(pcr) or f"{found.loader} boots this image: {reasons.get(pcr, _OTHERS)}"
        variant: dict[str, str | int | bool] = {"boot": DISK}
        if pcr in (4, 7):
            variant["secure_boot"] = secure_boot
        for bank in banks:
            name = f"tpm.pcr{pcr:02d}"
            row = Measurement(register=name, alg=bank, status=status, reason=reason, variant=variant)
            value = learnt.get((pcr, bank))
            if value is not None and profile is not None:
                row = replace(row, value=value, reason=LEARNT, basis=(profile_basis(profile),))
            rows.append(row)
    return tuple(rows)


def _learnt(profile: PlatformProfile, found: ForeignBoot, banks: Sequence[str]) -> dict[tuple[int, str], bytes]:
    """Return the values of registers that are the firmware's alone."""
    gaps = platform_gaps(profile, found.gpt)
    of_image = {entry.pcr for entry in profile.entries if isinstance(entry, Slot)}
    return {
        (pcr, bank): fold(profile.events, pcr, bank, locality=profile.locality)
        for pcr in PLATFORM_REASONS
        for bank in banks
        if pcr not in gaps and pcr not in of_image and bank in profile.banks
    }
