"""The initdata of a profile: what its plans leave to be delivered when a machine starts."""

from __future__ import annotations

from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import InputError
from podvm_builder.formats.initdata import Initdata, annotation, write_initdata
from podvm_builder.guest.config import Document, delivered
from podvm_builder.guest.userdata import cloud_config
from podvm_builder.model.plan import Plan

VTPM = ("tpm", "az-snp-vtpm", "az-tdx-vtpm")
"""Kinds of evidence that tie initdata by PCR 8, where a verifier takes digests of 32 bytes only."""


def make_initdata(plans: tuple[Plan, ...], documents: tuple[Document, ...], algorithm: str | None) -> Initdata:
    """Return the initdata that every plan of a profile is delivered.

    Args:
        plans: at least one, all of one profile.
        documents: what the profile names.
        algorithm: of the digest; None for the one that the plans' verifiers take.

    Raises:
        InputError: PVB421, nothing is left to be delivered; PVB422, a verifier would not take the algorithm; PVB423, a
            cloud does not take so much user data.
    """
    contents = delivered(documents, plans[0].guest.bake)
    if not contents:
        raise InputError(
            "nothing is left to be delivered: the profile has no documents, or bakes all of them",
            code="PVB421",
            hint="name files as `guest.aa`, `guest.cdh` or `guest.policy`, and leave them out of `guest.bake`",
        )
    algorithm = algorithm or ("sha512" if all(plan.target.tee == "cca" for plan in plans) else "sha256")
    for plan in plans:
        if plan.evidence.kind in VTPM and algorithm != "sha256":
            raise InputError(
                f"the verifier of `{plan.target}` takes initdata with sha256 only: PCR 8 holds 32 bytes of its digest",
                code="PVB422",
                hint="leave `--algorithm` out",
            )
    initdata = write_initdata(contents, algorithm)
    size = len(cloud_config({"initdata": annotation(initdata) + "\n"}))
    for plan in plans:
        cloud = catalogue().clouds[plan.target.cloud]
        if cloud.user_data_max is not None and size > cloud.user_data_max:
            raise InputError(
                f"{cloud.title} takes {cloud.user_data_max} bytes of user data, and initdata alone makes {size}",
                code="PVB423",
                hint="bake a document with `guest.bake`",
            )
    return initdata
