"""Which builder makes a target's image, and whether it can."""

from __future__ import annotations

from dataclasses import replace

from podvm_builder.catalog.cloud import Evidence
from podvm_builder.catalog.entries import Catalogue
from podvm_builder.errors import InputError
from podvm_builder.model.axes import Target


def choose_builder(target: Target, catalogue: Catalogue, asked: str | None) -> str:
    """Return the builder of a target: the one asked for, or its distribution's own.

    Raises:
        InputError: PVB180, the distribution has no recipe for mkosi; PVB181, none of its vendor's images is known to
            become a PodVM; PVB182, Packer has no known builder for the cloud.
    """
    distro, cloud = catalogue.distros[target.distro], catalogue.clouds[target.cloud]
    builder = asked or distro.builder
    if builder == "mkosi":
        if distro.builder != "mkosi":
            raise InputError(
                f"{distro.title} cannot be built from packages",
                code="PVB180",
                hint="its images start from the vendor's: leave `--builder mkosi` out",
            )
        return builder
    if distro.packer is None:
        having = [other.name for other in catalogue.distros.values() if other.packer is not None]
        raise InputError(
            f"no image of {distro.title} is known that Packer could start from",
            code="PVB181",
            hint=f"take one of {', '.join(having)}, or leave `--builder packer` out",
        )
    if cloud.packer is None or target.arch not in cloud.packer.architectures:
        raise InputError(
            f"Packer has no known builder for {cloud.title} on {target.arch}",
            code="PVB182",
            hint="leave `--builder packer` out" if distro.builder == "mkosi" else "build for another cloud",
        )
    return builder


def evidence_of(builder: str, evidence: Evidence) -> Evidence:
    """Return what evidence says of a builder's image: of a changed vendor's image, nothing.

    Its boot loader and kernel are measured, but nothing ties them to the root file system, which is written to.
    """
    if builder != "packer":
        return evidence
    return replace(
        evidence,
        promised=(),
        by=(),
        reason="the image is a vendor's, changed in a running machine: what is measured of its boot loader and kernel "
        "does not cover its root file system",
        source="podvm-build documentation, Packer",
    )
