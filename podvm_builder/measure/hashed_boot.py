"""An image hashed once for several ways to boot it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from podvm_builder.measure.artifacts import BootArtifacts
from podvm_builder.measure.boot_log import DISK
from podvm_builder.measure.sidecars import Sidecars, read_sidecars
from podvm_builder.measure.stub import stub_rules
from podvm_builder.measure.uki_digests import NO_SIDECARS, UkiDigests, digest_uki


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedBoot:
    """An image with all its digests: what remains to be done for a way to boot is quick."""

    artifacts: BootArtifacts
    banks: tuple[str, ...]
    digests: Mapping[str, UkiDigests]
    """By boot path: QEMU hands a UKI over without a file system that addons could lie in."""
    sidecars: Mapping[str, Sidecars]
    """By boot path."""


def hash_boot(
    artifacts: BootArtifacts, banks: Sequence[str], *, boots: Sequence[str] = (DISK,), workers: int = 1
) -> HashedBoot:
    """Hash all that the boot paths ``boots`` measure of an image.

    Raises:
        FormatError: as :func:`podvm_builder.measure.tpm.predict_tpm`.
    """
    names = tuple(banks)
    found = _read_sidecars(artifacts, names) if DISK in boots else NO_SIDECARS
    sidecars = {boot: found if boot == DISK else NO_SIDECARS for boot in boots}
    done: dict[bool, UkiDigests] = {}
    for some in sidecars.values():
        if some.present not in done:
            done[some.present] = digest_uki(
                artifacts.uki,
                stub_rules(artifacts.uki.stub_version),
                names,
                sidecars=some,
                loader=artifacts.loader.reader if artifacts.loader else None,
                workers=workers,
            )
    digests = {boot: done[some.present] for boot, some in sidecars.items()}
    return HashedBoot(artifacts=artifacts, banks=names, digests=digests, sidecars=sidecars)


def _read_sidecars(artifacts: BootArtifacts, banks: Sequence[str]) -> Sidecars:
    rules = stub_rules(artifacts.uki.stub_version)
    if rules is None or not rules.sidecars or not artifacts.extras:
        return NO_SIDECARS
    uname = artifacts.uki.text(".uname").split(b"\0")[0]
    return read_sidecars(artifacts.folders, rules, uname=uname, algorithms=banks)
